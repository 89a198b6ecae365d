"""What watching a request costs: the gateway with and without its observers, in turns.

Two gateways stand in this process, on one event loop, each with the runtime that it serves with,
and answer requests of one molecule, one after the other, without HTTP. An observer looks at
several requests at once, so a call of the clock is a block of them. The difference of two times
that are this close needs a quiet machine; what the observers' own call costs is timed by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry
from rich.console import Console

from forcegate_bench.machine import describe
from forcegate_bench.options import Fake, Model, Repository
from forcegate_bench.rows import Findings, absent, at_most, plain, write
from forcegate_bench.structures import Shaken
from forcegate_bench.subject import MOLECULE, Subject, subject_of
from forcegate_bench.timing import Timing, ratio, take_turns
from forcegate_client.messages import PredictRequest
from forcegate_client.wire import encode_request
from forcegate_service.gateway import Gateway
from forcegate_service.metrics import Metrics
from forcegate_service.monitoring.assembly import make_observers
from forcegate_service.monitoring.observer import Observer, Served
from forcegate_service.negotiation import MSGPACK
from forcegate_service.rounding import round_alike_in_every_batch
from forcegate_service.runtimes import open_runtimes
from forcegate_service.scheduling.flow import Flow
from forcegate_service.settings import Settings

LIMIT = 0.01
# A machine on which the same requests take so much longer in one turn than in another has other
# work to do: the part that observers have of them is then not known.
CALM = 1.15
BLOCK = 64
TURNS = 7
COMPILED_WITHIN_S = 300.0
FLOW = Flow("benchmark", "benchmark")


class Recorder:
    """Keeps the last request that was served."""

    seen: Served

    def served(self, seen: Served) -> None:
        """Keep it."""
        self.seen = seen

    def close(self) -> None:
        """Nothing to write."""


@dataclass
class Requests:
    """Blocks of requests to one gateway on ``loop``, one request after the other."""

    loop: asyncio.AbstractEventLoop
    gateway: Gateway
    bodies: Sequence[bytes]

    def sample(self, seconds: float) -> list[float]:
        """Milliseconds per request, of every block."""
        end, times = time.perf_counter() + seconds, []
        while not times or time.perf_counter() < end:
            times.append(self.loop.run_until_complete(self._block()))
        return times

    async def _block(self) -> float:
        started = time.perf_counter()
        for body in self.bodies:
            await self.gateway.predict(body, MSGPACK, MSGPACK, FLOW)
        # Observers are called after the answer.
        await asyncio.sleep(0)
        return 1e3 * (time.perf_counter() - started) / len(self.bodies)


@dataclass
class Watching:
    """Blocks of calls of the observers alone."""

    observers: Sequence[Observer]
    seen: Served

    def sample(self, seconds: float) -> list[float]:
        """Milliseconds per request, of every block."""
        end, times = time.perf_counter() + seconds, []
        while not times or time.perf_counter() < end:
            started = time.perf_counter()
            for _ in range(BLOCK):
                for observer in self.observers:
                    observer.served(self.seen)
            times.append(1e3 * (time.perf_counter() - started) / BLOCK)
        return times


async def started(subject: Subject, recorder: Recorder | None = None) -> Gateway:
    """A gateway that is ready and compiled; with all its observers, if there is a ``recorder``."""
    given = {
        name.removeprefix("FORCEGATE_").lower(): text for name, text in subject.settings.items()
    }
    settings = Settings(model_repository=subject.repository, torch_threads=1, **given)
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    observers: list[Observer] = []
    if recorder is not None:
        observers += [*make_observers(settings, registry), recorder]
    gateway = Gateway(settings, open_runtimes(settings, metrics), metrics, observers)
    await gateway.load_models()
    if subject.compiled:
        labels = {"model": subject.name, "version": subject.folder.name}
        deadline = time.monotonic() + COMPILED_WITHIN_S
        while registry.get_sample_value("forcegate_model_compiled", labels) != 1.0:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{subject.name} was not compiled; try forcegate-serve compile")
            await asyncio.sleep(0.2)
    return gateway


def findings(times: dict[str, Timing], own: Timing) -> Findings:
    """Rows of both gateways, and of the observers alone."""
    watched, bare = times["with observers"], times["without"]
    found = Findings()
    label = "the observers' own call / a request without"
    turns = sorted(median(turn) for turn in bare.turns)
    if turns[-1] <= CALM * turns[0]:
        found.rows.append(at_most(label, own.median / bare.median, LIMIT))
    else:
        found.rows.append(absent(label, f"≤ {LIMIT:g}"))
        found.notes.append(
            f"Requests took {turns[-1] / turns[0]:.2f} times as long in their slowest turn as in "
            f"their fastest; more than {CALM:g} says that the machine was busy. Run it again."
        )
    found.rows += [
        plain(f"a request of {MOLECULE}, without observers", bare.median, "ms"),
        plain("with observers / without", ratio(watched, bare), "×"),
        plain("the observers' own call", 1e3 * own.median, "µs"),
    ]
    found.notes.append(
        f"{TURNS} turns of each; a call is {BLOCK} requests, one after the other, without HTTP."
    )
    return found


def main(
    model_repository: Repository = Path("model_repository"),
    model: Model = "painn_base",
    fake: Fake = False,
    seconds: Annotated[float, typer.Option(min=1.0, help="Time on the clock.")] = 20.0,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/monitoring.json"),
) -> None:
    """Measure with one torch thread; write JSON and Markdown."""
    round_alike_in_every_batch()
    out.parent.mkdir(parents=True, exist_ok=True)
    loop, shaken, recorder = asyncio.new_event_loop(), Shaken(MOLECULE), Recorder()
    with subject_of(model_repository, model, fake) as subject:
        asked = (PredictRequest(shaken.next_batch(), subject.name) for _ in range(BLOCK))
        bodies = [encode_request(request) for request in asked]
        watching = loop.run_until_complete(started(subject, recorder))
        bare = loop.run_until_complete(started(subject))
        times = take_turns(
            {
                "with observers": Requests(loop, watching, bodies),
                "without": Requests(loop, bare, bodies),
            },
            seconds,
            TURNS,
        )
        observers = make_observers(watching.settings, CollectorRegistry())
        own = {"own": Watching(observers, recorder.seen)}
        alone = take_turns(own, seconds / 5, TURNS)["own"]
        for gateway in (watching, bare):
            loop.run_until_complete(gateway.close())
    loop.close()
    write(out, "What watching requests costs", describe(), findings(times, alone))
    Console().print(out.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    typer.run(main)
