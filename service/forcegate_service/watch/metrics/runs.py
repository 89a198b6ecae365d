"""What is counted of runs that the server moves itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from forcegate_client.runs import RunRequest
from forcegate_service.contract.card import ModelCard

__all__ = ["RunMetrics"]

_FS_PER_NS = 1e6


class Begun(Protocol):
    """A structure that begins to move."""

    request: RunRequest
    start_step: int


class RunMetrics:
    """The ``forcegate_run_*`` metrics of one server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._streams = Gauge(
            "forcegate_run_streams", "Streams of dynamics and relaxation.", registry=registry
        )
        self._structures = Gauge(
            "forcegate_run_structures", "Structures that are moving.", registry=registry
        )
        self._paused = Gauge(
            "forcegate_run_streams_paused",
            "Streams whose structures wait for a client that reads slowly.",
            registry=registry,
        )
        self._pauses = Counter(
            "forcegate_run_pauses_total",
            "Times that a stream waited for its client.",
            registry=registry,
        )
        self._begun = Counter(
            "forcegate_run_structures_begun_total",
            "Structures that began to move; those that go on from a frame are resumed.",
            ["model", "method", "resumed"],
            registry=registry,
        )
        self._ended = Counter(
            "forcegate_run_structures_ended_total",
            "Structures that moved and have ended, by the reason.",
            ["model", "method", "reason"],
            registry=registry,
        )
        self._steps = Counter(
            "forcegate_run_steps_total",
            "Steps of dynamics and relaxation.",
            ["model", "method"],
            registry=registry,
        )
        self._simulated = Counter(
            "forcegate_run_simulated_ns_total",
            "Nanoseconds of dynamics.",
            ["model"],
            registry=registry,
        )

    def watch(self, *, streams: Callable[[], int], structures: Callable[[], int]) -> None:
        """Ask for what moves whenever metrics are read."""
        self._streams.set_function(streams)
        self._structures.set_function(structures)

    def began(self, card: ModelCard, runs: Sequence[Begun]) -> None:
        """These structures begin to move."""
        for run in runs:
            resumed = "true" if run.start_step else "false"
            self._begun.labels(card.name, run.request.method, resumed).inc()

    def moved(self, card: ModelCard, request: RunRequest, steps: int) -> None:
        """A structure has taken so many steps."""
        self._steps.labels(card.name, request.method).inc(steps)
        if request.task == "dynamics":
            self._simulated.labels(card.name).inc(steps * request.timestep_fs / _FS_PER_NS)

    def ended(self, card: ModelCard, request: RunRequest, reason: str) -> None:
        """A structure moves no more."""
        self._ended.labels(card.name, request.method, reason).inc()

    def paused(self, paused: bool) -> None:
        """A stream waits for its client, or no longer does."""
        if paused:
            self._pauses.inc()
            self._paused.inc()
        else:
            self._paused.dec()
