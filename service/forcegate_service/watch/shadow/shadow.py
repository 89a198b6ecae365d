"""Student against teacher: a sample of live structures is kept for the teacher to label.

The only signal that measures error rather than novelty. The teacher is slow, so it works in another
process (``forcegate-train shadow``), which takes the structures from a folder and reports back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from forcegate_service.contract.card import ModelCard
from forcegate_service.watch.background import Background
from forcegate_service.watch.disk import Complaints
from forcegate_service.watch.observer import Outcome, Row, Served
from forcegate_service.watch.shadow.metrics import DropReason, ShadowMetrics
from forcegate_service.watch.shadow.outstanding import Outstanding, Question
from forcegate_service.watch.shadow.record import (
    ShadowRecord,
    ShadowStructure,
    SpoolFileUnreadable,
    decode,
    encode,
)
from forcegate_service.watch.shadow.results import (
    LabelledStructure,
    ShadowReceipt,
    ShadowResults,
)
from forcegate_service.watch.shadow.spool import Spool, SpoolFull

__all__ = ["Compared", "Shadow"]

Compared = Callable[[Question, LabelledStructure], None]

_QUEUED = 256
# What waits together shares a file, which is one claim of a worker.
_TOGETHER = 8
# More than a spool of the default size holds; 2 kB each at the default number of atoms.
_OUTSTANDING = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class _Sampled:
    card: ModelCard
    row: Row
    caller: str


class Shadow:
    """An observer that puts ``fraction`` of the structures into ``spool``, and takes results.

    Structures have up to ``max_atoms`` atoms, because a teacher's time grows with their cube.
    ``compared`` is told of every result that counts. ``rng`` is a seam for tests.
    """

    def __init__(
        self,
        spool: Spool,
        metrics: ShadowMetrics,
        *,
        fraction: float,
        max_atoms: int,
        compared: Compared = lambda question, result: None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._spool = spool
        self._metrics = metrics
        self._fraction = fraction
        self._max_atoms = max_atoms
        self.compared = compared
        self._rng = rng or np.random.default_rng()
        # So many come before the next one that is chosen.
        self._passed_over = self._gap() - 1
        self._complaints = Complaints("structures for the teacher are dropped")
        # A card that is read again may have been validated meanwhile.
        self._card: ModelCard | None = None
        self.outstanding = Outstanding(_OUTSTANDING)
        self._writer: Background[_Sampled] = Background(
            "forcegate-shadow",
            self._write,
            capacity=_QUEUED,
            together=_TOGETHER,
            begin=self._take_up,
        )

    def served(self, seen: Served) -> None:
        """Sample a request's structures; copying them is all that happens here."""
        chosen = self._sample(len(seen.index))
        if not chosen:
            return
        if seen.card is not self._card:
            self._card = seen.card
            self._metrics.expect(seen.card)
        outcome = Outcome(seen)
        for place, k in enumerate(chosen):
            if outcome.failed is not None and outcome.failed[k]:
                continue
            reason = self._objection(seen.card, outcome, k)
            if reason is not None:
                self._drop(seen.card, reason)
            elif not self._writer.offer(_Sampled(seen.card, outcome.row(k), seen.caller)):
                # There is no room for the rest either.
                self._drop(seen.card, "queue_full", len(chosen) - place)
                return

    def accept(self, reported: ShadowResults) -> ShadowReceipt:
        """Count results of structures that were put into the spool, each once."""
        accepted = 0
        for result in reported.results:
            question = None
            if result.consistent:
                question = self.outstanding.answer(result.id, result.n_atoms)
            if question is not None:
                accepted += 1
                self._metrics.result(question.model, question.version, result)
                self.compared(question, result)
        for skipped in reported.skipped:
            question = self.outstanding.answer(skipped.id)
            if question is not None:
                accepted += 1
                self._metrics.skipped(question.model, question.version, skipped.reason)
        total = len(reported.results) + len(reported.skipped)
        return ShadowReceipt(accepted=accepted, refused=total - accepted)

    def unloaded(self, card: ModelCard) -> None:
        """The version of ``card`` is not served any more."""
        self._metrics.unloaded(card)

    def close(self) -> None:
        """Write what is queued."""
        self._writer.close()

    def _sample(self, size: int) -> list[int]:
        """Which of the next ``size`` structures are chosen, each with the same probability."""
        chosen = []
        while self._passed_over < size:
            chosen.append(self._passed_over)
            self._passed_over += self._gap()
        self._passed_over -= size
        return chosen

    def _gap(self) -> int:
        # As if a coin were thrown for each structure, at the price of one number for each chosen.
        return int(self._rng.geometric(self._fraction))

    def _objection(self, card: ModelCard, outcome: Outcome, k: int) -> DropReason | None:
        if not isinstance(card.teacher.get("version"), str):
            return "no_teacher"
        if outcome.periodic[k]:
            return "periodic"
        if outcome.n_atoms[k] > self._max_atoms:
            return "too_large"
        return "open_shell" if outcome.row(k).open_shell else None

    def _drop(self, card: ModelCard, reason: DropReason, structures: int = 1) -> None:
        self._metrics.dropped(card.name, card.version, reason, structures)

    # On the writer's thread from here on.

    def _take_up(self) -> None:
        """Wait for answers to what an earlier life of this gateway asked, too."""
        with self._complaints.about(OSError):
            self._spool.open()
            for content in self._spool.contents():
                with self._complaints.about(SpoolFileUnreadable):
                    record = decode(content)
                    for structure in record.structures:
                        self.outstanding.add(structure.id, _question(record, structure))

    def _write(self, sampled: Sequence[_Sampled]) -> None:
        for record in _records(sampled):
            # Asked before a worker can answer.
            for structure in record.structures:
                self.outstanding.add(structure.id, _question(record, structure))
            size = len(record.structures)
            reason: DropReason
            try:
                self._spool.put(encode(record))
            except SpoolFull:
                reason = "spool_full"
            except OSError as error:
                reason = "write_failed"
                self._complaints.tell(error)
            else:
                self._metrics.spooled(record.model, record.version, size)
                continue
            for structure in record.structures:
                self.outstanding.forget(structure.id)
            self._metrics.dropped(record.model, record.version, reason, size)


def _records(sampled: Sequence[_Sampled]) -> Iterator[ShadowRecord]:
    """One for each run of structures of one version."""
    for _, group in groupby(sampled, key=lambda item: item.card.digest):
        items = list(group)
        card = items[0].card
        structures = [
            ShadowStructure(
                # Not to be guessed: it is what a result is accepted for.
                id=secrets.token_hex(16),
                atomic_numbers=item.row.atomic_numbers,
                positions=item.row.positions,
                energy=item.row.energy,
                forces=item.row.forces,
                caller=item.caller,
            )
            for item in items
        ]
        yield ShadowRecord(card.name, card.version, card.digest, card.teacher, structures)


def _question(record: ShadowRecord, structure: ShadowStructure) -> Question:
    return Question(
        model=record.model,
        version=record.version,
        digest=record.digest,
        atomic_numbers=structure.atomic_numbers,
        positions=structure.positions,
        caller=structure.caller,
    )
