"""One student in this process: checked structures in, checked answers out, as from a gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forcegate_client.checks.charges import mismatched
from forcegate_client.checks.composition import composition_warnings
from forcegate_client.checks.plausible import implausible
from forcegate_client.checks.structures import check_properties, check_structures, without
from forcegate_client.errors import ForcegateError, InvalidStructure
from forcegate_client.force_uncertainty import force_uncertainty
from forcegate_client.local.engine import forcegate_errors, require_engine
from forcegate_client.local.survey import survey_of
from forcegate_client.local.versions import Version
from forcegate_client.messages import Predictions, PredictRequest, PredictResponse
from forcegate_client.structures import StructureBatch
from forcegate_client.wire.columns import columns_of

if TYPE_CHECKING:
    from forcegate_engine import Evaluation

__all__ = ["Admitted", "Student"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Problems = dict[int, ForcegateError]


@dataclass(frozen=True)
class Admitted:
    """What can be computed of some structures: ``index`` [K] are those in ``structures``.

    All others have one of ``problems``; ``warnings`` are remarks on those that have none.
    """

    structures: StructureBatch
    index: Int
    problems: Problems
    warnings: dict[int, list[str]]


class Student:
    """A version that was opened; threads may share it. ``threads`` at most, 0 for all cores."""

    def __init__(self, version: Version, threads: int = 0) -> None:
        """Read the weights, and hold them against the card.

        Raises:
            ModelRefused: if they are not what the card describes.
            EngineUnavailable: if this machine cannot evaluate them.
            PackageMissing: if the engine is not installed.
        """
        require_engine()
        from forcegate_engine import Model

        self.card = version.card
        self.threads = threads
        with forcegate_errors():
            self.model = Model.open(version.folder)

    @cached_property
    def atoms_alone(self) -> Float:
        """[Z + 1] in eV: the energy of each element's atom alone, NaN where there is none."""
        energies = np.zeros(max(self.card.elements) + 1)
        for number in self.card.elements:
            alone = StructureBatch.from_arrays([1], [number], np.zeros((1, 3)))
            output, faults = self._evaluate(alone)
            energies[number] = np.nan if faults else output.energy[0]
        return energies

    def answer(self, request: PredictRequest, partner: Student | None = None) -> PredictResponse:
        """All that is asked; ``partner`` is what forces are compared with, if they are.

        Raises:
            ForcegateError: as a gateway would, for the first structure that is refused unless
                ``on_error`` is ``partial``.
        """
        check_properties(request.properties, self.card)
        admitted = self.admit(request.structures, request.properties)
        _raise_first(request, admitted.problems)
        output, faults = self._evaluate(admitted.structures)
        sigma = None
        if partner is not None and self.card.partner is not None:
            other, more = partner._evaluate(admitted.structures)
            faults = more | faults
            calibrated = self.card.partner
            sigma = force_uncertainty(
                *(output.forces, other.forces, admitted.structures.n_atoms),
                scale=calibrated.scale,
                floor=calibrated.floor,
            )
        return self.respond(request, admitted, output, faults, sigma)

    def admit(self, batch: StructureBatch, properties: Sequence[str] = ()) -> Admitted:
        """Look at structures before anything is computed of them."""
        problems: Problems = dict(check_structures(batch, self.card, properties))
        usable, index = without(batch, problems)  # type: ignore[arg-type]
        warnings = {int(index[k]): texts for k, texts in composition_warnings(usable).items()}
        close = self._contacts(usable)
        if close:
            for k, found in close.items():
                b = int(index[k])
                if isinstance(found, str):
                    warnings.setdefault(b, []).append(found)
                else:
                    found.structure = b
                    problems[b] = found
            usable, index = without(batch, problems)  # type: ignore[arg-type]
        return Admitted(usable, index, problems, warnings)

    def respond(
        self,
        request: PredictRequest,
        admitted: Admitted,
        output: Evaluation,
        faults: Problems,
        sigma: Float | None = None,
    ) -> PredictResponse:
        """The answer with what was computed of the structures that were admitted.

        ``faults`` are those that could not be, by their place among these.

        Raises:
            ForcegateError: for the first that is refused unless ``on_error`` is ``partial``.
        """
        structures, index = admitted.structures, admitted.index
        failed = self.judged(structures, output, faults)
        for k, error in failed.items():
            error.structure = int(index[k])
        problems = admitted.problems | {int(index[k]): error for k, error in failed.items()}
        _raise_first(request, problems)
        if failed:
            keep = np.ones(len(structures), dtype=np.bool_)
            keep[list(failed)] = False
            output = _part(output, keep, atoms := np.repeat(keep, structures.n_atoms))
            sigma = None if sigma is None else sigma[atoms]
            structures, index = structures.select(np.flatnonzero(keep)), index[keep]
        return PredictResponse(
            model=self.card.name,
            version=self.card.version,
            digest=self.card.digest,
            card_digest=self.card.card_digest,
            status=dict(self.card.status),
            predictions=Predictions(
                index=index,
                n_atoms=structures.n_atoms,
                **columns_of(output, structures, request.properties),
                force_uncertainty=sigma,
                problems={b: problems[b].to_problem() for b in sorted(problems)},
                warnings={b: w for b, w in admitted.warnings.items() if b not in problems},
            ),
        )

    def judged(
        self, structures: StructureBatch, output: Evaluation, faults: Problems | None = None
    ) -> Problems:
        """The structures whose answer is none, by their place, beside those with ``faults``."""
        failed: Problems = {}
        if len(structures):
            failed |= mismatched(output.charges, structures.n_atoms, structures.charges)
            failed |= implausible(output, structures, self.atoms_alone, self.card.limits)
        return failed | (faults or {})

    def _contacts(self, batch: StructureBatch) -> dict[int, ForcegateError | str]:
        """What is said of structures with close atoms: an error, or a remark."""
        if not len(batch):
            return {}
        try:
            _, close = survey_of(batch, self.card.shortest_distances, self.card.cutoff)
        except InvalidStructure as error:
            if len(batch) == 1:
                return {0: error}
            each = [self._contacts(batch.select([b])) for b in range(len(batch))]
            return {b: one[0] for b, one in enumerate(each) if one}
        said: dict[int, ForcegateError | str] = {b: c.error(b) for b, c in close.refused.items()}
        return said | {b: contact.remark for b, contact in close.remarked.items()}

    def _evaluate(self, batch: StructureBatch) -> tuple[Evaluation, Problems]:
        """The answers, and what became of those that have none; their rows are NaN."""
        try:
            with forcegate_errors():
                return self._evaluated(batch), {}
        except ForcegateError as error:
            if error.structure is None:
                raise
            if len(batch) == 1:
                return self._nothing(batch), {0: error}
        # Each has the answer alone, bit for bit, that it has in company.
        each = [self._evaluate(batch.select([b])) for b in range(len(batch))]
        return _joined([output for output, _ in each]), {
            b: faults[0] for b, (_, faults) in enumerate(each) if faults
        }

    def _evaluated(self, batch: StructureBatch) -> Evaluation:
        return self.model.evaluate(
            batch.atomic_numbers,
            batch.positions,
            n_atoms=batch.n_atoms,
            cells=batch.cells,
            pbc=batch.pbc,
            threads=self.threads,
        )

    def _nothing(self, batch: StructureBatch) -> Evaluation:
        from forcegate_engine import Evaluation

        size, atoms = len(batch), batch.total_atoms
        return Evaluation(
            energy=np.full(size, np.nan),
            forces=np.full((atoms, 3), np.nan),
            virial=np.full((size, 3, 3), np.nan),
            energy_uncertainty=np.full(size, np.nan),
            atom_novelty=np.full(atoms, np.nan),
            charges=np.full(atoms, np.nan) if self.card.charges else None,
        )


def _raise_first(request: PredictRequest, problems: Problems) -> None:
    if problems and request.on_error == "raise":
        raise problems[min(problems)]


_PER_ATOM = frozenset({"forces", "atom_novelty", "charges"})


def _part(output: Evaluation, structures: npt.NDArray[np.bool_], atoms: Any) -> Evaluation:
    columns: dict[str, Any] = {field.name: getattr(output, field.name) for field in fields(output)}
    for name, values in columns.items():
        if values is not None:
            columns[name] = values[atoms if name in _PER_ATOM else structures]
    return type(output)(**columns)


def _joined(outputs: Sequence[Evaluation]) -> Evaluation:
    columns: dict[str, Any] = {}
    for field in fields(outputs[0]):
        values = [getattr(output, field.name) for output in outputs]
        columns[field.name] = None if values[0] is None else np.concatenate(values)
    return type(outputs[0])(**columns)
