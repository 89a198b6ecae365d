"""A histogram that is cheap to tell: values are kept, and counted together or when they are read.

That of the library takes a lock and looks through the bounds for each value, which for the five
that a step of molecular dynamics tells costs as much as reading its body.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import Lock

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["Buckets", "BulkHistogram"]

# Some kilobytes of numbers for each set of labels.
_TOGETHER = 256


class Buckets:
    """How many values lie at or below each of some bounds, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = np.array(bounds)
        self._names = [*(str(float(bound)) for bound in bounds), "+Inf"]
        self._counts = np.zeros(len(bounds) + 1, dtype=np.int64)
        self._sum = 0.0

    def observe(self, values: npt.NDArray[np.float64]) -> None:
        """Count all of ``values``; one on a bound belongs below it."""
        bins = np.searchsorted(self._bounds, values)
        self._counts += np.bincount(bins, minlength=len(self._counts))
        self._sum += float(values.sum())

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Tell what was counted."""
        cumulated = np.cumsum(self._counts).tolist()
        family.add_metric(labels, list(zip(self._names, cumulated, strict=True)), self._sum)


class BulkHistogram(Collector):
    """``observe`` is for one thread, the event loop's; any may read."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        bounds: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._family = name, documentation, None, None, labels
        self._bounds = bounds
        self._of: dict[tuple[str, ...], Buckets] = {}
        self._told: dict[tuple[str, ...], list[float]] = {}
        self._lock = Lock()
        registry.register(self)

    def observe(self, labels: tuple[str, ...], value: float) -> None:
        """Count ``value`` among those with such ``labels``."""
        told = self._told.get(labels)
        if told is None:
            told = self._told[labels] = []
        told.append(value)
        if len(told) >= _TOGETHER:
            self._count(labels, told)

    def _count(self, labels: tuple[str, ...], told: list[float]) -> None:
        with self._lock:
            # Others may be added meanwhile, behind these.
            size = len(told)
            values = np.array(told[:size])
            del told[:size]
            if labels not in self._of:
                self._of[labels] = Buckets(self._bounds)
            self._of[labels].observe(values)

    def describe(self) -> Iterable[Metric]:
        """The name, without samples."""
        yield HistogramMetricFamily(*self._family)

    def collect(self) -> Iterable[Metric]:
        """All that was told so far."""
        for labels, told in list(self._told.items()):
            if told:
                self._count(labels, told)
        family = HistogramMetricFamily(*self._family)
        for labels, buckets in list(self._of.items()):
            buckets.add_to(family, labels)
        yield family
