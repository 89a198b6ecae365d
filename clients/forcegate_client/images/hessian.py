"""Ask for a Hessian: by the server's route for it, or by displaced structures in one batch."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from ase import Atoms

from forcegate_client.electrons import electrons_of
from forcegate_client.errors import (
    DigestChanged,
    ForcegateError,
    InvalidStructure,
    ModelNotFound,
    PayloadTooLarge,
    WrongAnswer,
)
from forcegate_client.http.client import Client
from forcegate_client.images.displacements import (
    DISPLACEMENT_A,
    Hessian,
    displaced,
    hessian_from,
)
from forcegate_client.potential import Potential
from forcegate_client.structures import StructureBatch

__all__ = ["PATH", "hessian_of"]

PATH = "/v1/hessian"


def hessian_of(
    potential: Potential,
    atoms: Atoms,
    model: str = "painn_base",
    version: str | None = None,
    *,
    digest: str | None = None,
    displacement: float = DISPLACEMENT_A,
) -> Hessian:
    """Second derivatives of the energy at ``atoms``, by central differences of ``displacement`` Å.

    A server displaces the atoms itself; one that knows no such route, or finds the molecule too
    large for it, is asked about the displaced structures, in as many requests as it wants. With
    ``digest`` other weights are an error.

    Raises:
        InvalidStructure: if there are no atoms.
        DigestChanged: if other weights answer than ``digest``.
        ForcegateError: the class that the server raised.
    """
    if not len(atoms):
        raise InvalidStructure("no atoms", expected="at least one", code="no_atoms")
    found = None
    if isinstance(potential, Client):
        try:
            found = _asked(potential, atoms, model, version, displacement)
        except PayloadTooLarge:
            pass
        except ModelNotFound as error:
            if error.code != "route_not_found":
                raise
    if found is None:
        found = _by_predictions(potential, atoms, model, version, displacement)
    if digest not in (None, found.digest):
        raise DigestChanged(
            f"{found.model} {found.version} with digest {found.digest}",
            expected=f"{digest}, as before",
            action="begin again with the new version",
        )
    return found


def _by_predictions(
    potential: Potential, atoms: Atoms, model: str, version: str | None, by: float
) -> Hessian:
    properties = ["energy", "forces", "uncertainty"]
    if not atoms.pbc.any() and potential.model(model, version).get("interface") == 2:
        properties.append("dipole")
    batch = displaced(StructureBatch.from_atoms([atoms]), by)
    try:
        return hessian_from(potential.predict(batch, model, version, properties), by)
    except ForcegateError as error:
        # There is one structure, whichever of its copies is refused.
        error.structure = None
        raise


def _asked(client: Client, atoms: Atoms, model: str, version: str | None, by: float) -> Hessian:
    charge, multiplicity = electrons_of(atoms)
    structure: dict[str, Any] = {
        "atomic_numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "charge": charge,
        "multiplicity": multiplicity,
    }
    if atoms.pbc.any():
        structure |= {"cell": atoms.cell.array.tolist(), "pbc": atoms.pbc.tolist()}
    body = {"model": model, "version": version, "structure": structure, "displacement": by}
    try:
        answer = client.post(PATH, json.dumps(body, allow_nan=False).encode())
    except ForcegateError as error:
        error.structure = None
        raise
    except ValueError:
        raise InvalidStructure(
            "positions that are not finite",
            expected="a number of Å for each coordinate",
            code="positions_not_finite",
        ) from None
    return _read(answer, len(atoms), by)


def _read(answer: dict[str, Any], n_atoms: int, by: float) -> Hessian:
    """Raises WrongAnswer if it is not one for ``n_atoms`` atoms, all numbers finite."""
    size = 3 * n_atoms
    try:
        slopes = answer["dipole_derivatives"]
        novelty = answer["max_novelty"]
        found = Hessian(
            matrix=np.array(answer["hessian"], dtype=np.float64).reshape(size, size),
            energy=float(answer["energy"]),
            forces=np.array(answer["forces"], dtype=np.float64).reshape(n_atoms, 3),
            dipole_derivatives=None
            if slopes is None
            else np.array(slopes, dtype=np.float64).reshape(size, 3),
            asymmetry=float(answer["asymmetry"]),
            displacement=by,
            max_novelty=None if novelty is None else float(novelty),
            warnings=[str(text) for text in answer["warnings"]],
            status={str(use): str(verdict) for use, verdict in answer["status"].items()},
            **{name: str(answer[name]) for name in _NAMES},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _wrong(f"an answer without a Hessian of {n_atoms} atoms ({error})") from error
    if not (np.isfinite(found.matrix).all() and np.isfinite(found.forces).all()):
        raise _wrong("a Hessian or forces that are not finite")
    return found


_NAMES = ("model", "version", "digest", "card_digest")


def _wrong(received: str) -> WrongAnswer:
    return WrongAnswer(
        received,
        expected=f"the answer of POST {PATH}",
        action="try again; if it stays so, look at the server's log",
    )
