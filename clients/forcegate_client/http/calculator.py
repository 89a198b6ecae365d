"""An ASE calculator whose energies, forces and stresses come from a forcegate server."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from forcegate_client.electrons import electrons_of
from forcegate_client.errors import DigestChanged
from forcegate_client.http.client import Client
from forcegate_client.http.connection import Timeouts
from forcegate_client.messages import Predictions, PredictResponse, rows_of
from forcegate_client.potential import Potential
from forcegate_client.retry import PATIENT, RetryPolicy
from forcegate_client.structures import StructureBatch

__all__ = ["ModelCalculator", "RemoteCalculator", "ToldCalculator"]

logger = logging.getLogger("forcegate")


class ModelCalculator(Calculator):  # type: ignore[misc]  # ASE has no type information
    """Energy (eV), forces (eV/Å) and stress (eV/Å³, Voigt, tension positive) from ``client``.

    A step fetches energy, forces and, with three-dimensional periodicity, stress at once.
    Charges (e) and the dipole (e·Å, about the centre of mass; of what is not periodic) are fetched
    when they are asked for, and are an error with models that have none. Without ``version`` the
    choice at the first step is kept for the life of the calculator. ``digest`` pins the
    weights from the start; otherwise those that answered first are expected ever after. With
    ``uncertainty=True``, ``energy_uncertainty`` (eV) and ``max_novelty`` are those of the last
    calculation; ``results`` has no names but ASE's, so that every tool of ASE takes it. Charge and
    multiplicity are those of ``electrons_of``.

    ``device`` is taken because factories of calculators pass one, and chooses nothing: a line of
    the log says so of any but ``cpu``.

    It logs once for what validation rejected the model; with ``use`` (``md``, ``relax``,
    ``screening``) only if it is that, and with an empty one not at all.
    """

    implemented_properties: ClassVar[list[str]] = [
        *("energy", "free_energy", "forces", "stress", "charges", "dipole")
    ]
    # Those of the last calculation.
    atoms: Any
    # Whether nobody else has what it asks.
    _owns_client = False
    # What is said to whoever names a device.
    _computes_on = "what answers knows its own"

    def __init__(
        self,
        client: Potential,
        model: str,
        version: str | int | None = None,
        *,
        digest: str | None = None,
        uncertainty: bool = False,
        use: str | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        if device not in (None, "cpu"):
            logger.info("device=%r changes nothing: %s", device, self._computes_on)
        self.client = client
        self.model = model
        self.version = None if version is None else str(version)
        self.digest = digest
        self.card_digest = ""
        self.approval: dict[str, str] = {}
        self.energy_uncertainty: float | None = None
        self.max_novelty: float | None = None
        self._uncertainty = uncertainty
        self._use = use
        self._electrons: tuple[int, int] | None = None
        self._batch: StructureBatch | None = None
        self._batch_rest: tuple[object, ...] = ()
        self._warned: set[str] = set()

    def get_forces_batch(
        self, images: Sequence[Atoms], properties: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """ASE's ``results`` of each of ``images``, which are asked about in one request.

        Energy (eV), forces (eV/Å), stress (eV/Å³) if all of them have one, and ``charges`` (e) and
        ``dipole`` (e·Å) if ``properties`` name them. Images that are too many for one request are
        halved until they fit. The results of this calculator stay as they are.

        Raises:
            DigestChanged: if the server answers with other weights than before.
            ForcegateError: the class that the server raised; ``structure`` is the image to blame.
        """
        if not images:
            return []
        wanted = ["energy", "forces", *properties]
        wanted += ["stress"] if all(_is_bulk(atoms) for atoms in images) else []
        batch = StructureBatch.from_atoms(images)
        response = self.client.predict(batch, self.model, self.version, wanted)
        self._accept(response)
        rows = rows_of(response.predictions.n_atoms.tolist())
        return [_results(response.predictions, b, atoms) for b, atoms in enumerate(rows)]

    @property
    def allowed_atomic_numbers(self) -> set[int]:
        """The elements that the model knows, from its card."""
        return set(self.client.model(self.model, self.version)["elements"])

    def close(self) -> None:
        """Close the connection, unless the client was given."""
        if self._owns_client:
            self.client.close()

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What differs from the last calculation, to the last bit; ``atoms.info`` counts too.

        ASE compares with a tolerance, which would be the most expensive part of a step here.
        """
        if self.atoms is None:
            return list(all_changes)
        changes = [name for name in all_changes if _bits(self.atoms, name) != _bits(atoms, name)]
        if not changes and self._electrons != electrons_of(atoms):
            changes = ["info"]
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fetch all properties that are defined for ``atoms``.

        Raises:
            PropertyNotImplementedError: if stress is wanted without full periodicity, or a dipole
                with any.
            UnprocessableRequest: if the model knows no charges and they are wanted.
            DigestChanged: if the server answers with other weights than before.
            ForcegateError: the class that the server raised.
        """
        self.energy_uncertainty = self.max_novelty = None
        # Without super(): it would look for a folder that is not needed here.
        if atoms is not None:
            self._keep(atoms, system_changes)
        if "stress" in properties and not _is_bulk(self.atoms):
            raise PropertyNotImplementedError(
                f"stress of a structure with pbc {self.atoms.pbc.tolist()} and cell rank "
                f"{self.atoms.cell.rank}; it is defined only with three periodic axes"
            )
        if "dipole" in properties and self.atoms.pbc.any():
            raise PropertyNotImplementedError(
                f"dipole of a structure with pbc {self.atoms.pbc.tolist()}; it is defined only "
                "without periodicity"
            )
        self._electrons = electrons_of(self.atoms)
        wanted = self._wanted(self.atoms, properties)
        response = self.client.predict(self._batch_of(self.atoms), self.model, self.version, wanted)
        self._take(response)

    def adopt(self, atoms: Atoms, response: PredictResponse) -> None:
        """Take ``response``, an answer to ``atoms``, for the last calculation.

        Raises:
            DigestChanged: if it is by other weights than before.
        """
        self._take(response)
        self.atoms, self._electrons = atoms.copy(), electrons_of(atoms)

    def _keep(self, atoms: Atoms, changes: Sequence[str]) -> None:
        """A copy of ``atoms``; from one step to the next only what moves is copied."""
        moved = self.atoms is not None and list(changes) == ["positions"]
        if moved and self._electrons == electrons_of(atoms):
            self.atoms = copy.copy(self.atoms)
            self.atoms.arrays = {name: array.copy() for name, array in atoms.arrays.items()}
        else:
            self.atoms = atoms.copy()

    def _wanted(self, atoms: Atoms, properties: Sequence[str]) -> list[str]:
        """What is fetched where ``properties`` are asked for."""
        wanted = ["energy", "forces"]
        wanted += [name for name in ("charges", "dipole") if name in properties]
        wanted += ["stress"] if _is_bulk(atoms) else []
        return wanted + (["uncertainty"] if self._uncertainty else [])

    def _take(self, response: PredictResponse) -> None:
        """Make it the results."""
        self._accept(response)
        found = response.predictions
        self.results = _results(found, 0, slice(None))
        self.energy_uncertainty = _first(found.energy_uncertainty)
        self.max_novelty = _first(found.max_novelty)

    def _batch_of(self, atoms: Atoms) -> StructureBatch:
        """``atoms`` as they are sent; from one step to the next only positions are new."""
        rest = (*(_bits(atoms, name) for name in ("numbers", "cell", "pbc")), electrons_of(atoms))
        if self._batch is None or rest != self._batch_rest:
            self._batch, self._batch_rest = StructureBatch.from_atoms([atoms]), rest
        return replace(self._batch, positions=np.ascontiguousarray(atoms.positions, np.float64))

    def _accept(self, response: PredictResponse) -> None:
        if not response.comes_from(self.digest, self.card_digest):
            raise DigestChanged(
                response.origin,
                expected=f"the weights and card of this run, {self.digest} {self.card_digest}",
                action="start a new calculator to use the new version",
            )
        self.version = response.version
        self.digest = response.digest
        self.card_digest = response.card_digest
        self.approval = response.status
        rejected = [
            use
            for use, verdict in response.status.items()
            if verdict == "rejected" and self._use in (None, use)
        ]
        judged = f"validation rejected this model for {', '.join(rejected)}; its card says why"
        remarks = chain.from_iterable(response.predictions.warnings.values())
        for text in [*([judged] if rejected else []), *remarks]:
            if text not in self._warned:
                self._warned.add(text)
                logger.warning("%s %s: %s", response.model, response.version, text)


class RemoteCalculator(ModelCalculator):
    """``ModelCalculator`` of a server, at one round trip a step.

    While a server that has answered before is away, it waits for it, for days if need be, and logs
    so once a minute; ``retry`` sets other rules. Give ``client`` to share one.
    """

    client: Client
    _computes_on = "the server computes, on the device that it was started for"

    def __init__(
        self,
        url: str | None = None,
        model: str = "painn_base",
        version: str | int | None = None,
        *,
        api_key: str | None = None,
        allow_plain_http: bool | None = None,
        digest: str | None = None,
        uncertainty: bool = False,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy = PATIENT,
        client: Client | None = None,
        use: str | None = None,
        device: str | None = None,
    ) -> None:
        asked = client or Client(
            url, api_key, allow_plain_http=allow_plain_http, timeouts=timeouts, retry=retry
        )
        super().__init__(
            *(asked, model, version),
            digest=digest,
            uncertainty=uncertainty,
            use=use,
            device=device,
        )
        self._owns_client = client is None


class ToldCalculator(ModelCalculator):
    """Computes nothing: it has what it was told of one structure, by ``adopt``."""

    _computes_on = "the server computes, on the device that it was started for"

    def __init__(
        self,
        model: str,
        version: str | int | None = None,
        *,
        digest: str | None = None,
        use: str | None = None,
    ) -> None:
        super().__init__(None, model, version, digest=digest, use=use)  # type: ignore[arg-type]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Nothing can be asked for.

        Raises:
            PropertyNotImplementedError: always.
        """
        raise PropertyNotImplementedError(
            f"{', '.join(properties)} of a structure that is no frame, or that frames do not hold; "
            "name it in properties="
        )


def _bits(atoms: Atoms, name: str) -> bytes | None:
    """One of ASE's ``all_changes`` as it lies in memory; ``None`` if there is no such array."""
    if name == "cell":
        array = atoms.cell.array
    elif name == "pbc":
        array = atoms.pbc
    else:
        array = atoms.arrays.get(name)
    return None if array is None else array.tobytes()


def _is_bulk(atoms: Atoms) -> bool:
    return bool(atoms.pbc.all()) and atoms.cell.rank == 3


def _results(found: Predictions, row: int, atoms: slice) -> dict[str, Any]:
    """Those of structure ``row``, whose atoms are ``atoms``."""
    results: dict[str, Any] = {}
    if found.energy is not None:
        # The student has no electronic entropy: both energies are the same.
        results["energy"] = results["free_energy"] = float(found.energy[row])
    if found.forces is not None:
        # Buffers of a message are read-only; ASE users expect to own what they get.
        results["forces"] = np.array(found.forces[atoms])
    if found.stress is not None:
        results["stress"] = np.array(found.stress[row])
    if found.charges is not None:
        results["charges"] = np.array(found.charges[atoms])
    if found.dipole is not None:
        results["dipole"] = np.array(found.dipole[row])
    return results


def _first(column: npt.NDArray[np.float64] | None) -> float | None:
    return None if column is None else float(column[0])
