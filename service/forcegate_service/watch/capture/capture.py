"""What the models do badly on is kept, so that the next training begins with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from forcegate_client.errors import PredictionImplausible, PredictionNotFinite
from forcegate_service.contract.card import ModelCard
from forcegate_service.watch.background import Background
from forcegate_service.watch.capture.metrics import (
    CaptureDropReason,
    CaptureMetrics,
    CaptureReason,
)
from forcegate_service.watch.capture.store import Added, Captured, CaptureStore
from forcegate_service.watch.disk import Complaints
from forcegate_service.watch.observer import Outcome, Served
from forcegate_service.watch.shadow.outstanding import Question
from forcegate_service.watch.shadow.results import LabelledStructure

__all__ = ["Capture", "Thresholds", "training_novelty"]

_QUEUED = 256
_TOGETHER = 32
# A teacher would need minutes for more.
_MOST_ATOMS = 200


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is captured is above one of them; None never is.

    ``novelty`` takes the place of what the card says of the training set;
    ``uncertainty`` in eV per atom; ``force_rmse`` in eV/Å, by the teacher.
    """

    novelty: float | None = None
    uncertainty: float | None = None
    force_rmse: float | None = None

    def novelty_of(self, card: ModelCard) -> float:
        """The largest novelty that is nothing special; infinite if nobody knows."""
        limit = training_novelty(card) if self.novelty is None else self.novelty
        return np.inf if limit is None else limit


def training_novelty(card: ModelCard) -> float | None:
    """The novelty that 99.9 % of the training frames stay below; None if the card does not say."""
    return None if card.histograms is None else card.histograms.max_novelty_999


@dataclass(frozen=True, slots=True, eq=False)
class _Tripped:
    model: str
    version: str
    reason: CaptureReason
    structure: Captured


class Capture:
    """An observer that keeps open structures whose answer is not finite, or above a threshold."""

    def __init__(
        self, store: CaptureStore, metrics: CaptureMetrics, thresholds: Thresholds
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._thresholds = thresholds
        self._complaints = Complaints("structures are not captured")
        self._writer: Background[_Tripped] = Background(
            "forcegate-capture",
            self._write,
            capacity=_QUEUED,
            together=_TOGETHER,
            begin=self._take_up,
        )

    def served(self, seen: Served) -> None:
        """Look at what was answered; structures that are to be kept are copied here."""
        if not self._may_trip(seen):
            return
        outcome = Outcome(seen)
        card = seen.card
        for k, reason in self._tripped(seen, outcome):
            unfit: CaptureDropReason | None = None
            if outcome.periodic[k]:
                unfit = "periodic"
            elif outcome.n_atoms[k] > _MOST_ATOMS:
                unfit = "too_large"
            elif not self._writer.offer(_tripped(seen, outcome, k, reason)):
                unfit = "queue_full"
            if unfit is not None:
                self._metrics.dropped(card.name, card.version, unfit)

    def compared(self, question: Question, result: LabelledStructure) -> None:
        """Keep a structure on which the teacher disagrees."""
        limit = self._thresholds.force_rmse
        if limit is None or result.force_rmse <= limit:
            return
        why = {
            "reason": "shadow_error", "model": question.model, "version": question.version,
            "digest": question.digest, "caller": question.caller, "force_rmse": result.force_rmse,
        }  # fmt: skip
        structure = Captured(question.atomic_numbers, question.positions, why)
        tripped = _Tripped(question.model, question.version, "shadow_error", structure)
        if not self._writer.offer(tripped):
            self._metrics.dropped(question.model, question.version, "queue_full")

    def close(self) -> None:
        """Write what is queued."""
        self._writer.close()

    def _may_trip(self, seen: Served) -> bool:
        """Whether a closer look is worth it, as it seldom is."""
        if not len(seen.index):
            return False
        if seen.failed or self._thresholds.uncertainty is not None:
            return True
        limit = self._thresholds.novelty_of(seen.card)
        return any(output.atom_novelty.max() > limit for output in seen.outputs)

    def _tripped(self, seen: Served, outcome: Outcome) -> Iterator[tuple[int, CaptureReason]]:
        """Computed structures that are to be kept, each with its first reason."""
        lost = np.zeros(len(outcome.index), dtype=np.bool_)
        if outcome.failed is not None:
            lost = outcome.failed
            for k in np.flatnonzero(lost).tolist():
                # What is no number and what no structure has are learned from alike.
                if isinstance(
                    seen.failed[int(outcome.index[k])], PredictionNotFinite | PredictionImplausible
                ):
                    yield k, "not_finite"
        novel = outcome.max_novelty > self._thresholds.novelty_of(seen.card)
        unsure = np.zeros_like(novel)
        if self._thresholds.uncertainty is not None:
            unsure = outcome.energy_uncertainty > self._thresholds.uncertainty * outcome.n_atoms
        for k in np.flatnonzero((novel | unsure) & ~lost).tolist():
            yield k, "novelty" if novel[k] else "uncertainty"

    # On the writer's thread from here on.

    def _take_up(self) -> None:
        with self._complaints.about(OSError):
            for trouble in self._store.open():
                self._complaints.tell(trouble)

    def _write(self, tripped: Sequence[_Tripped]) -> None:
        try:
            added = self._store.add([one.structure for one in tripped])
        # Not only the disk: coordinates may be beyond what the format holds.
        except (OSError, ValueError) as error:
            added = Added(["write_failed"] * len(tripped), troubles=[error])
        for trouble in added.troubles:
            self._complaints.tell(trouble)
        for why in added.evicted:
            model, version, reason = (str(why.get(name)) for name in ("model", "version", "reason"))
            self._metrics.evicted(model, version, reason)
        for one, dropped in zip(tripped, added.outcomes, strict=True):
            if dropped is None:
                self._metrics.captured(one.model, one.version, one.reason)
            else:
                self._metrics.dropped(one.model, one.version, dropped)


def _tripped(seen: Served, outcome: Outcome, k: int, reason: CaptureReason) -> _Tripped:
    row, card = outcome.row(k), seen.card
    why: dict[str, object] = {
        "reason": reason, "model": card.name, "version": card.version, "digest": card.digest,
        "caller": seen.caller,
    }  # fmt: skip
    if reason != "not_finite":
        why["max_novelty"] = float(outcome.max_novelty[k])
        why["energy_uncertainty"] = float(outcome.energy_uncertainty[k])
    structure = Captured(row.atomic_numbers, row.positions, why)
    return _Tripped(card.name, card.version, reason, structure)
