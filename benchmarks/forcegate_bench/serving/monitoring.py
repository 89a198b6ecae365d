"""What watching a request costs: gateways with and without all that watches, in turns.

Three gateways stand in this process, on one event loop, each with the runtime that it serves with,
and answer requests of one molecule, one after the other, without HTTP: one counts nothing and has
no observers, one is as it comes, one keeps a share of all structures for the teacher and captures
what is novel as well. The difference of two times that are this close needs a quiet
machine; what the watch of novelty costs is timed by itself, too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import uvloop
from prometheus_client import CollectorRegistry

from forcegate_bench.machine.cores import on_core
from forcegate_bench.report.rows import Findings, absent, at_most, plain
from forcegate_bench.report.timing import Timing, take_turns
from forcegate_bench.subjects.structures import Shaken
from forcegate_bench.subjects.subject import MOLECULE, Subject
from forcegate_client.messages import PredictRequest
from forcegate_client.wire import encode_request
from forcegate_service.api.routes.predict import PATH
from forcegate_service.contract.card import ModelCard
from forcegate_service.predict.forms import Form
from forcegate_service.predict.gateway import Gateway
from forcegate_service.queue.fair_queue import Tenant
from forcegate_service.runtimes.choose import open_runtimes
from forcegate_service.settings import Settings
from forcegate_service.watch.assembly import make_observers
from forcegate_service.watch.metrics.metrics import Metrics
from forcegate_service.watch.metrics.requests import RequestMetrics, RequestRecord
from forcegate_service.watch.novelty.watch import NoveltyWatch
from forcegate_service.watch.observer import Observer, Served

__all__ = ["measure_monitoring"]

_NOVELTY_LIMIT, _LIMIT = 0.01, 1.03
# Neighbouring turns share the machine's mood; a ratio that is known no better says nothing.
_UNCERTAIN = 0.01
_BLOCK = 32
_TURNS = 401
_FORM: Form = "application/msgpack"
_FLOW = Tenant("benchmark", "benchmark")
_BARE, _AS_IT_COMES, _EVERYTHING = "unwatched", "as it comes", "with shadowing and capture"
# One structure in a hundred is kept for the teacher; there is always room for it.
_SHADOW_FRACTION, _SHADOW_FILES = 0.01, 1_000_000


class _SilentMetrics(Metrics):
    """Counts and times nothing that a request does."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.requests = _SilentRequests(CollectorRegistry())

    def phases(self, durations_s: Mapping[str, float], structures: int) -> None:
        """Nothing."""

    def batch(self, structures: int, edges: int, duration_s: float) -> None:
        """Nothing."""

    def served(self, card: ModelCard, structures: int) -> None:
        """Nothing."""


class _SilentRequests(RequestMetrics):
    """Counts no answers."""

    def answered(
        self, route: str, status: int, duration_s: float, record: RequestRecord | None
    ) -> None:
        """Nothing."""


class _Recorder:
    """Keeps the last request that was served."""

    seen: Served

    def served(self, seen: Served) -> None:
        """Keep it."""
        self.seen = seen

    def close(self) -> None:
        """Nothing to write."""


@dataclass
class _Requests:
    """Blocks of requests to one gateway on ``loop``, one request after the other."""

    loop: asyncio.AbstractEventLoop
    gateway: Gateway
    bodies: Sequence[bytes]
    # Milliseconds per request, what comes after the answers included.
    blocks: list[float] = field(default_factory=list)

    def sample(self, seconds: float) -> list[float]:
        """Milliseconds of every request."""
        end = time.perf_counter() + seconds
        times: list[float] = []
        while not times or time.perf_counter() < end:
            times += self.loop.run_until_complete(self._block())
        return times

    async def _block(self) -> list[float]:
        times = []
        _started = time.perf_counter()
        for body in self.bodies:
            began = time.perf_counter()
            await self.gateway.predict(body, _FORM, _FORM, _FLOW)
            took_s = time.perf_counter() - began
            times.append(1e3 * took_s)
            # As whoever answers over HTTP does.
            self.gateway.metrics.requests.answered(PATH, 200, took_s, None)
            # The loop has a turn before the caller can have read the answer and asked again: what
            # is counted then costs a core, and nobody's time.
            await asyncio.sleep(0)
        self.blocks.append(1e3 * (time.perf_counter() - _started) / len(self.bodies))
        return times


@dataclass
class _Watching:
    """Blocks of calls of the observers alone."""

    observers: Sequence[Observer]
    seen: Served

    def sample(self, seconds: float) -> list[float]:
        """Milliseconds per request, of every block."""
        end = time.perf_counter() + seconds
        times: list[float] = []
        while not times or time.perf_counter() < end:
            _started = time.perf_counter()
            for _ in range(_BLOCK):
                for observer in self.observers:
                    observer.served(self.seen)
            times.append(1e3 * (time.perf_counter() - _started) / _BLOCK)
        return times


async def _started(
    subject: Subject, core: int, metrics: type[Metrics], wanted: Mapping[str, Any], *more: Observer
) -> Gateway:
    """A gateway that is ready, with its inference on ``core`` and ``more`` observers
    than it has by itself; with none at all if it counts nothing.
    """
    given: dict[str, Any] = {
        name.removeprefix("FORCEGATE_").lower(): text for name, text in subject.settings.items()
    }
    settings = Settings(
        model_repository=subject.repository, torch_threads=1, **(given | dict(wanted))
    )
    registry = CollectorRegistry()
    counts = metrics(registry)
    observers: list[Observer] = []
    if metrics is Metrics:
        observers += [*make_observers(settings, registry), *more]
    with on_core(core):
        runtimes = open_runtimes(settings, counts.models)
    gateway = Gateway(settings, runtimes, counts, observers)
    await gateway.load_models()
    return gateway


def _paired(numerator: Timing, denominator: Timing) -> tuple[float, float]:
    """The median over turns of the turns' ratios, and its standard error (that of a median of
    normal deviates, √(π/2) times that of their mean).
    """
    pairs = zip(numerator.turns, denominator.turns, strict=True)
    ratios = np.array([median(a) / median(b) for a, b in pairs])
    error = np.sqrt(np.pi / 2) * ratios.std(ddof=1) / np.sqrt(len(ratios))
    return float(np.median(ratios)), float(error)


def _findings(times: dict[str, Timing], own: Timing, asking: Mapping[str, _Requests]) -> Findings:
    """Rows of all gateways, and of the watch of novelty alone."""
    found = Findings()
    # Of the fast turns: a slow machine makes the part look smaller than it is.
    fast = float(np.quantile([median(turn) for turn in times[_BARE].turns], 0.25))
    found.rows.append(
        at_most(
            "the watch of novelty, its own call / a request that nobody watches",
            own.median / fast,
            _NOVELTY_LIMIT,
        )
    )
    for name in (_AS_IT_COMES, _EVERYTHING):
        label = f"a request {name} / {_BARE}, p50"
        value, error = _paired(times[name], times[_BARE])
        if error <= _UNCERTAIN:
            found.rows.append(at_most(label, value, _LIMIT))
        else:
            found.rows.append(absent(label, f"≤ {_LIMIT:g}"))
            found.notes.append(f"{label}: {value:.3f} ± {error:.3f}: too uncertain. Run it again.")
        found.rows.append(plain(f"{label}: standard error", error, "×"))
    for name, timing in times.items():
        label = f"a request of {MOLECULE}, {name}"
        found.rows.append(plain(f"{label}, p50", timing.median, "ms"))
        whole = median(asking[name].blocks)
        found.rows.append(plain(f"{label}, with what follows the answer", whole, "ms"))
    found.rows.append(plain("the watch of novelty, its own call", 1e3 * own.median, "µs"))
    found.notes.append(
        f"{_TURNS} turns of each of some {_BLOCK} requests, one after the other, without HTTP. "
        f"{_SHADOW_FRACTION:.0%} of all structures are kept for the teacher."
    )
    return found


def measure_monitoring(subject: Subject, cores: tuple[int, int], seconds: float) -> Findings:
    """Requests to all gateways in turns, then the watch of novelty alone, for a fifth of that."""
    # The loop that a server has.
    loop, shaken, recorder = uvloop.new_event_loop(), Shaken(MOLECULE), _Recorder()
    with TemporaryDirectory() as folder:
        asked = (PredictRequest(shaken.next_batch(), subject.name) for _ in range(_BLOCK))
        bodies = [encode_request(request) for request in asked]
        everything = {
            "shadow_fraction": _SHADOW_FRACTION,
            "shadow_dir": Path(folder) / "shadow",
            "shadow_max_files": _SHADOW_FILES,
            "capture_dir": Path(folder) / "capture",
        }
        wanted: dict[str, tuple[type[Metrics], dict[str, Any]]] = {
            _BARE: (_SilentMetrics, {}),
            _AS_IT_COMES: (Metrics, {}),
            _EVERYTHING: (Metrics, everything),
        }
        gateways = {
            name: loop.run_until_complete(_started(subject, cores[0], kind, settings, recorder))
            for name, (kind, settings) in wanted.items()
        }
        asking = {name: _Requests(loop, gateway, bodies) for name, gateway in gateways.items()}
        times = take_turns(asking, seconds, _TURNS)
        watch = NoveltyWatch(gateways[_AS_IT_COMES].settings, CollectorRegistry())
        own = {"own": _Watching([watch], recorder.seen)}
        alone = take_turns(own, seconds / 5, _TURNS)["own"]
        for gateway in gateways.values():
            loop.run_until_complete(gateway.close())
    loop.close()
    return _findings(times, alone, asking)
