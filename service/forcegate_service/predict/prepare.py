"""From a decoded request to what can be evaluated: everything that needs no model."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from forcegate_client.checks.composition import composition_warnings
from forcegate_client.checks.contacts import Contacts, too_close
from forcegate_client.checks.structures import (
    Problems,
    check_properties,
    check_structures,
    without,
)
from forcegate_client.errors import InvalidStructure, PayloadTooLarge
from forcegate_client.messages import PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.neighbors.pairs import count_open_pairs
from forcegate_service.contract.structures import Surveyed, keep_structures
from forcegate_service.contract.survey import look_at
from forcegate_service.predict.density import crowded, estimate_edges
from forcegate_service.queue.microbatch import BatchLimit, Demand, Microbatch
from forcegate_service.settings import MIB, Settings

__all__ = ["Preparation", "Prepared", "check_size"]

# So many atoms are looked at at a time, which bounds what that needs, and lets the first ones be
# evaluated meanwhile.
_CHUNK_ATOMS = 1024
# Open structures up to this size make few pairs even if all atoms coincide.
_HARMLESS_ATOMS = 150


@dataclass(frozen=True)
class Prepared:
    """What can be computed of a request, and what cannot.

    ``index`` [K] are the structures in ``microbatches``, ascending; all others have a problem.
    """

    request: PredictRequest
    index: npt.NDArray[np.int64]
    microbatches: list[Microbatch]
    problems: Problems
    warnings: dict[int, list[str]] = field(default_factory=dict)
    graph_s: float = 0.0

    @property
    def seconds(self) -> float:
        """Predicted time of all microbatches."""
        return sum(microbatch.seconds for microbatch in self.microbatches)


def check_size(structures: int, atoms: int, settings: Settings) -> None:
    """Raise if a request holds more than one request may hold.

    Raises:
        PayloadTooLarge: saying what there is too much of.
    """
    for received, limit, what in (
        (structures, settings.max_structures, "structures"),
        (atoms, settings.max_atoms, "atoms"),
    ):
        if received > limit:
            raise _too_large(f"{received} {what}", f"at most {limit}", f"too_many_{what}")


class Preparation:
    """Checks a request at once, and looks at its structures step by step, a batch at most each."""

    def __init__(
        self,
        request: PredictRequest,
        card: ModelCard,
        limit: BatchLimit,
        settings: Settings,
        problems: Problems,
    ) -> None:
        """Everything but the distances between atoms is checked here.

        ``problems`` are those found while decoding.

        Raises:
            PayloadTooLarge: if there are too many atoms, structures or pairs.
            UnprocessableRequest: if a property is unknown.
            InvalidStructure: for the first bad structure, unless ``on_error`` is ``partial``.
        """
        started = time.perf_counter()
        batch = request.structures
        check_size(len(batch), batch.total_atoms, settings)
        check_properties(request.properties, card)
        problems = check_structures(batch, card, request.properties) | problems
        problems |= _too_crowded(batch, card, problems)
        _raise_first(request, problems)
        self._request, self._card, self._limit, self._settings = request, card, limit, settings
        self._problems = problems
        self._usable, self._index = without(batch, problems)
        _check_pairs(self._usable, card, limit, settings)
        self._keep = np.ones(len(self._usable), dtype=np.bool_)
        self._remarks: dict[int, str] = {}
        self._microbatches: list[Microbatch] = []
        self._chunks = _chunks(self._usable)
        self._atoms = self._listed = 0
        self._seconds = 0.0
        self._graph_s = time.perf_counter() - started

    @property
    def complete(self) -> bool:
        """Whether every structure was looked at."""
        return not self._chunks

    @property
    def expected_s(self) -> float:
        """Predicted time of all structures, if those to come are like those that were looked at."""
        return self._seconds * self._usable.total_atoms / max(self._atoms, 1)

    def step(self) -> list[Microbatch]:
        """The next structures, those whose atoms keep their distance; not once complete.

        Raises:
            PayloadTooLarge: if there are too many pairs.
            InvalidStructure: for a bad structure, unless ``on_error`` is ``partial``.
        """
        started = time.perf_counter()
        chunk, found, near = self._look_at(self._chunks.pop(0))
        self._atoms += len(found.atomic_numbers)
        self._listed += self._limit.listed(found)
        if self._listed > self._settings.max_edges:
            raise _too_many_pairs(self._listed, self._settings)
        for b, contact in near.remarked.items():
            self._remarks[int(chunk[b])] = contact.remark
        too_large = self._limit.too_large(found)
        if refused := too_large.keys() | near.refused.keys():
            self._keep[chunk[list(refused)]] = False
            found = keep_structures(found, self._keep[chunk])
            for b in refused:
                index = int(self._index[chunk[b]])
                self._problems[index] = (
                    near.refused[b].error(index)
                    if b in near.refused
                    else _too_demanding(too_large[b], self._limit, index)
                )
            _raise_first(self._request, self._problems)
        microbatches = self._limit.microbatches(found)
        self._microbatches += microbatches
        self._seconds += sum(microbatch.seconds for microbatch in microbatches)
        self._graph_s += time.perf_counter() - started
        return microbatches

    def _look_at(
        self, chunk: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], Surveyed, Contacts]:
        """Those of ``chunk`` that can be looked at at all, and what is seen of them."""
        while True:
            batch = self._usable
            batch = batch if len(chunk) == len(batch) else batch.select(chunk)
            try:
                return chunk, *look_at(batch, self._card)
            except InvalidStructure as error:
                chunk = self._leave_out(chunk, error)

    def _leave_out(
        self, chunk: npt.NDArray[np.int64], error: InvalidStructure
    ) -> npt.NDArray[np.int64]:
        assert error.structure is not None
        refused = chunk[error.structure]
        rest = np.delete(chunk, error.structure)
        self._keep[refused] = False
        error.structure = int(self._index[refused])
        self._problems[error.structure] = error
        _raise_first(self._request, self._problems)
        return rest

    def completed(self) -> Prepared:
        """All that is left of it at once; see ``step`` for what is raised."""
        while not self.complete:
            self.step()
        return self.prepared()

    def prepared(self) -> Prepared:
        """All of it, once it is complete."""
        index, keep = self._index, self._keep
        warnings = composition_warnings(self._usable)
        for k, remark in self._remarks.items():
            warnings.setdefault(k, []).append(remark)
        told = self._request.remarks
        for k, b in enumerate(index.tolist() if told else ()):
            if b in told:
                warnings.setdefault(k, []).append(told[b])
        return Prepared(
            request=self._request,
            index=index[keep],
            microbatches=self._microbatches,
            problems=self._problems,
            warnings={int(index[k]): texts for k, texts in warnings.items() if keep[k]},
            graph_s=self._graph_s,
        )


def _chunks(batch: StructureBatch) -> list[npt.NDArray[np.int64]]:
    every = np.arange(len(batch))
    if batch.total_atoms <= _CHUNK_ATOMS:
        return [every] if len(batch) else []
    of_chunk = np.cumsum(batch.n_atoms) // _CHUNK_ATOMS
    return np.split(every, np.flatnonzero(np.diff(of_chunk)) + 1)


def _too_crowded(batch: StructureBatch, card: ModelCard, problems: Problems) -> Problems:
    if not _may_be_dense(batch):
        return {}
    usable, index = without(batch, problems)
    flags = crowded(usable, card.minimum_distance)
    expected = f"distances of at least {card.minimum_distance:g} Å"
    received = "two atoms, periodic images included, all but on top of each other"
    return {b: too_close(received, expected, b) for b in index[flags].tolist()}


def _check_pairs(
    batch: StructureBatch, card: ModelCard, limit: BatchLimit, settings: Settings
) -> None:
    # Of pairs that are summed and never listed there may be as many as their time allows.
    if card.charges and limit.lists_pairs:
        pairs = count_open_pairs(batch)
        if pairs > settings.max_edges:
            raise _too_many_pairs(pairs, settings)
    if _may_be_dense(batch):
        estimate = estimate_edges(batch, card.cutoff)
        # The estimate may be off by a small factor; the exact count follows chunk by chunk.
        if estimate > 4.0 * settings.max_edges:
            raise _too_many_pairs(int(estimate), settings)


def _may_be_dense(batch: StructureBatch) -> bool:
    return bool(np.count_nonzero(batch.pbc) or np.count_nonzero(batch.n_atoms > _HARMLESS_ATOMS))


def _raise_first(request: PredictRequest, problems: Problems) -> None:
    if problems and request.on_error == "raise":
        raise problems[min(problems)]


def _too_demanding(demand: Demand, limit: BatchLimit, structure: int) -> InvalidStructure:
    if demand.seconds > limit.longest_s:
        predicted = f"{demand.seconds:.3g} s"
        expected = f"at most {limit.longest_s:.3g} s, since others wait for it"
        setting = "FORCEGATE_MAX_STRUCTURE_S"
    else:
        predicted = f"{demand.memory / MIB:.0f} MiB of memory"
        expected = f"at most {limit.most_memory / MIB:.0f} MiB"
        setting = "FORCEGATE_MAX_STRUCTURE_MIB"
    return InvalidStructure(
        f"a structure that is predicted to take {predicted}",
        expected=expected,
        action="ask for a smaller structure, or a smaller model; who runs the server may raise "
        + setting,
        code="structure_too_large",
        structure=structure,
    )


def _too_many_pairs(received: int, settings: Settings) -> PayloadTooLarge:
    return _too_large(
        f"about {received} pairs of atoms that act on each other",
        f"at most {settings.max_edges}",
        "too_many_pairs",
    )


def _too_large(received: str, expected: str, code: str) -> PayloadTooLarge:
    return PayloadTooLarge(
        received,
        expected=f"{expected} in one request",
        action="split the request into smaller ones",
        code=code,
    )
