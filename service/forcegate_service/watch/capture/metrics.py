"""How much was captured, and what was not, by reason."""

from __future__ import annotations

from typing import Literal

from prometheus_client import CollectorRegistry, Counter

__all__ = ["CaptureDropReason", "CaptureMetrics", "CaptureReason"]

CaptureReason = Literal["not_finite", "novelty", "uncertainty", "shadow_error"]
CaptureDropReason = Literal[
    "periodic", "too_large", "queue_full", "duplicate", "composition_full", "full", "write_failed"
]


class CaptureMetrics:
    """Counts of structures by version and reason."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("model", "version", "reason")
        self._captured = Counter(
            "forcegate_captured_structures_total",
            "Structures that were kept for training, by what they were kept for.",
            labels,
            registry=registry,
        )
        self._dropped = Counter(
            "forcegate_capture_dropped_total",
            "Structures that should have been kept and were not, by reason.",
            labels,
            registry=registry,
        )

        self._evicted = Counter(
            "forcegate_capture_evicted_total",
            "Structures that were kept and gave way to others, by what they had been kept for.",
            labels,
            registry=registry,
        )

    def captured(self, model: str, version: str, reason: CaptureReason) -> None:
        """Count a structure that is on the disk."""
        self._captured.labels(model, version, reason).inc()

    def dropped(
        self, model: str, version: str, reason: CaptureDropReason, structures: int = 1
    ) -> None:
        """Count structures that are not."""
        self._dropped.labels(model, version, reason).inc(structures)

    def evicted(self, model: str, version: str, reason: str) -> None:
        """Count a structure that is no longer on the disk."""
        self._evicted.labels(model, version, reason).inc()
