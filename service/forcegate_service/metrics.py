"""What the gateway counts and times; everything hangs on an injected registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from forcegate_client.errors import ForcegateError, PredictionNotFinite
from forcegate_service.card import ModelCard

__all__ = ["Metrics"]

_LATENCY_BUCKETS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The ``forcegate_*`` metrics of one server.

    The children that every prediction counts in are kept here: looking one up by its labels costs
    more than counting.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "forcegate_requests_total",
            "HTTP requests answered, by route template and status code.",
            ["route", "code"],
            registry=registry,
        )
        self._phases = Histogram(
            "forcegate_phase_seconds",
            "Time that predictions spend in each phase: queue, graph, inference, serialise.",
            ["phase"],
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._batch_structures = Histogram(
            "forcegate_batch_structures",
            "Structures evaluated together.",
            buckets=_BATCH_BUCKETS,
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
        self._up = Gauge(
            "forcegate_runtime_up",
            "1 while somebody is there to evaluate models, 0 while nobody is.",
            registry=registry,
        )
        self._cancelled = Counter(
            "forcegate_cancelled_total",
            "Requests given up before they were answered, by reason: disconnect or deadline.",
            ["reason"],
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
        self._models = Gauge(
            "forcegate_model_info",
            "Always 1; the labels name each version that is served.",
            ["model", "version", "digest"],
            registry=registry,
        )
        self._compiled = Gauge(
            "forcegate_model_compiled",
            "1 while a version is evaluated by compiled code, 0 while by TorchScript.",
            ["model", "version"],
            registry=registry,
        )
        self._compile_seconds = Gauge(
            "forcegate_compile_seconds",
            "Time that compiling a version took, if this server did it.",
            ["model", "version"],
            registry=registry,
        )
        self._restarts = Counter(
            "forcegate_inference_process_restarts_total",
            "Times that the inference process had died and was started again.",
            registry=registry,
        )

        self._of_phase: dict[str, Histogram] = {}
        self._of_answer: dict[tuple[str, int], Counter] = {}
        self._of_model: dict[str, Counter] = {}

    def request(self, route: str, code: int) -> None:
        """Count one answered HTTP request."""
        child = self._of_answer.get((route, code))
        if child is None:
            child = self._of_answer[route, code] = self._requests.labels(route, str(code))
        child.inc()

    def phases(self, durations_s: Mapping[str, float]) -> None:
        """Observe the phases of one prediction, keyed ``<phase>_s``."""
        for name, duration_s in durations_s.items():
            child = self._of_phase.get(name)
            if child is None:
                child = self._of_phase[name] = self._phases.labels(name.removesuffix("_s"))
            child.observe(duration_s)

    def batch(self, structures: int, duration_s: float) -> None:
        """Observe one batch of the inference runtime."""
        self._batch_structures.observe(structures)
        self._busy.inc(duration_s)

    def served(self, card: ModelCard, structures: int) -> None:
        """Count structures that got their prediction."""
        child = self._of_model.get(card.name)
        if child is None:
            child = self._of_model[card.name] = self._structures.labels(card.name)
        child.inc(structures)

    def rejected(self, card: ModelCard, errors: Iterable[ForcegateError]) -> None:
        """Count structures that got a problem instead."""
        for error in errors:
            self._rejected.labels(error.code).inc()
            if isinstance(error, PredictionNotFinite):
                self._not_finite.labels(card.name).inc()

    def loaded(self, card: ModelCard) -> None:
        """Announce a version that is served."""
        self._models.labels(card.name, card.version, card.digest).set(1)

    def unloaded(self, card: ModelCard) -> None:
        """Take back what ``loaded`` announced."""
        self._models.remove(card.name, card.version, card.digest)

    def watch(self, admitted_s: Callable[[], float], available: Callable[[], bool]) -> None:
        """Ask for the admitted work and the runtime's state whenever metrics are read."""
        self._admitted.set_function(admitted_s)
        self._up.set_function(available)

    def cancelled(self, reason: str) -> None:
        """Count a request that was given up."""
        self._cancelled.labels(reason).inc()

    def compiled(self, card: ModelCard, in_use: bool) -> None:
        """Tell whether a version is evaluated by compiled code."""
        self._compiled.labels(card.name, card.version).set(in_use)

    def compile_took(self, card: ModelCard, seconds: float) -> None:
        """Remember how long compiling a version took."""
        self._compile_seconds.labels(card.name, card.version).set(seconds)

    def inference_restarted(self) -> None:
        """Count one more start of the inference process after a death."""
        self._restarts.inc()

    def exposition(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)
