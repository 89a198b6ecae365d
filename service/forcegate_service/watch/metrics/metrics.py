"""What the gateway counts and times; everything hangs on an injected registry."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from forcegate_client.errors import ForcegateError, PredictionNotFinite
from forcegate_service.contract.card import ModelCard
from forcegate_service.watch.metrics.bulk_histogram import BulkHistogram
from forcegate_service.watch.metrics.connections import ConnectionMetrics
from forcegate_service.watch.metrics.models import ModelMetrics
from forcegate_service.watch.metrics.problem_codes import counted_code
from forcegate_service.watch.metrics.requests import LATENCY_BUCKETS_S, RequestMetrics, size_class

__all__ = ["Metrics", "watch_process"]

_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_EDGE_BUCKETS = (100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)


class Metrics:
    """The ``forcegate_*`` metrics of one server: predictions here, the rest in groups.

    The children that every prediction counts in are kept here: looking one up by its labels costs
    more than counting.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        # The time at which each counter was made: nobody asks, and it is a third of all lines.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        self.requests = RequestMetrics(registry)
        self.models = ModelMetrics(registry)
        self.connections = ConnectionMetrics(registry)
        watch_process(registry)
        self._phases = BulkHistogram(
            "forcegate_phase_seconds",
            "Time that predictions spend in each phase (queue, graph, inference, serialise), by "
            "number of structures (1, 2-32, 33+).",
            ["phase", "size_class"],
            LATENCY_BUCKETS_S,
            registry,
        )
        self._batch_structures = Histogram(
            "forcegate_batch_structures",
            "Structures evaluated together.",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self._batch_edges = Histogram(
            "forcegate_batch_edges",
            "Edges evaluated together: pairs of neighbours, each in both directions.",
            buckets=_EDGE_BUCKETS,
            registry=registry,
        )
        self._busy = Counter(
            "forcegate_runtime_busy_seconds_total",
            "Time that the inference runtime was at work.",
            registry=registry,
        )
        self._structures = Counter(
            "forcegate_structures_total",
            "Structures answered with a prediction.",
            ["model"],
            registry=registry,
        )
        self._admitted = Gauge(
            "forcegate_admitted_seconds",
            "Predicted time of the work that waits or runs.",
            registry=registry,
        )
        self._queued = Gauge(
            "forcegate_queued_seconds",
            "Predicted time of the admitted work that no running batch holds.",
            registry=registry,
        )
        self._budget = Gauge(
            "forcegate_queue_budget_seconds",
            "Predicted time of the work that may be admitted; what goes beyond it is refused.",
            registry=registry,
        )
        self._up = Gauge(
            "forcegate_runtime_up",
            "1 while somebody is there to evaluate models, 0 while nobody is.",
            registry=registry,
        )
        self._not_finite = Counter(
            "forcegate_not_finite_total",
            "Structures whose prediction was not a finite number.",
            ["model"],
            registry=registry,
        )
        self._rejected = Counter(
            "forcegate_rejected_structures_total",
            "Structures answered with a problem, by its code.",
            ["reason"],
            registry=registry,
        )

        self._of_model: dict[str, Counter] = {}

    def phases(self, durations_s: Mapping[str, float], structures: int) -> None:
        """Observe the phases of one prediction of so many structures, keyed ``<phase>_s``."""
        size = size_class(structures)
        for name, duration_s in durations_s.items():
            self._phases.observe((name[:-2], size), duration_s)

    def batch(self, structures: int, edges: int, duration_s: float) -> None:
        """Observe one batch of the inference runtime."""
        self._batch_structures.observe(structures)
        self._batch_edges.observe(edges)
        self._busy.inc(duration_s)

    def moved(self, runs: int, duration_s: float) -> None:
        """Observe one batch of chunks of runs."""
        self._batch_structures.observe(runs)
        self._busy.inc(duration_s)

    def serving(self, card: ModelCard) -> None:
        """A version is served from now on."""
        self.models.loaded(card)
        # Counts that begin at 0, so that the first one is seen as an increase.
        self._not_finite.labels(card.name)
        self._structures.labels(card.name)

    def served(self, card: ModelCard, structures: int) -> None:
        """Count structures that got their prediction."""
        child = self._of_model.get(card.name)
        if child is None:
            child = self._of_model[card.name] = self._structures.labels(card.name)
        child.inc(structures)

    def rejected(self, card: ModelCard, errors: Iterable[ForcegateError]) -> None:
        """Count structures that got a problem instead."""
        for error in errors:
            self._rejected.labels(counted_code(error.code)).inc()
            if isinstance(error, PredictionNotFinite):
                self._not_finite.labels(card.name).inc()

    def watch(
        self,
        *,
        admitted_s: Callable[[], float],
        queued_s: Callable[[], float],
        budget_s: Callable[[], float],
        available: Callable[[], bool],
    ) -> None:
        """Ask for the admitted work and the runtime's state whenever metrics are read."""
        self._admitted.set_function(admitted_s)
        self._queued.set_function(queued_s)
        self._budget.set_function(budget_s)
        self._up.set_function(available)

    def exposition(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)


def watch_process(registry: CollectorRegistry) -> None:
    """Export the build, and what the operating system and the interpreter know of the process."""
    build = Gauge(
        "forcegate_build_info",
        "Always 1; the labels name the version of forcegate and of Python.",
        ["version", "python"],
        registry=registry,
    )
    build.labels(version("forcegate"), platform.python_version()).set(1)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
