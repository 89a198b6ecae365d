"""What a step over HTTP costs beyond the same evaluation in process, and where that goes.

Inference has a core of its own; the gateway's event loop and the client take turns on the other
one. The evaluation in process (neighbour list and runtime, without ASE) runs on inference's core,
in turns with the steps, and so does a round trip of the same bytes through a server that does
nothing, as a yardstick of the machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from forcegate_bench.cores import on_core
from forcegate_bench.options import Core, Fake, Model, OtherCore, Repository, require_two_cores
from forcegate_bench.process import start_over_as_served
from forcegate_bench.rows import Findings, absent, at_most, plain, write
from forcegate_bench.subject import MOLECULE
from forcegate_client import Client, RemoteCalculator
from forcegate_client.cli.outspoken import run

if TYPE_CHECKING:
    from forcegate_bench.structures import Shaken

LIMIT_MS = 0.5
WARM_UP_S = 0.5
TURNS = 5
# A machine on which the same evaluation takes so much longer in one turn than in another has other
# work to do, and a difference of two times measures that.
CALM = 1.15
PARTS = ("client, before sending", "HTTP", "queue", "graph", "inference", "client, after answer")


class ObservedClient(Client):
    """Notes when a request left and when its answer was there, and what the server says of it."""

    sent = answered = 0.0
    timing: dict[str, float]

    def predict(self, *args: Any, **options: Any) -> Any:
        """As ever."""
        response = super().predict(*args, **options)
        self.timing = response.timing
        return response

    def _send(self, *args: Any) -> Any:
        self.sent = time.perf_counter()
        try:
            return super()._send(*args)
        finally:
            self.answered = time.perf_counter()


@dataclass
class Steps:
    """Milliseconds of steps over HTTP: as a whole, and of each of ``PARTS``."""

    whole: list[float] = field(default_factory=list)
    parts: list[tuple[float, ...]] = field(default_factory=list)


def measure_steps(url: str, model: str, shaken: Shaken, seconds: float) -> Steps:
    """Evaluate energy and forces over HTTP for so long."""
    client, found = ObservedClient(url), Steps()
    atoms = shaken.atoms.copy()
    atoms.calc = RemoteCalculator(model=model, client=client)
    begin = time.perf_counter() + WARM_UP_S
    while (now := time.perf_counter()) < begin + seconds:
        atoms.positions = shaken.next_atoms().positions
        started = time.perf_counter()
        atoms.get_forces()
        ended = time.perf_counter()
        if now < begin:
            continue
        server = [client.timing[name] for name in ("queue_s", "graph_s", "inference_s")]
        http = client.answered - client.sent - sum(server)
        parts = (client.sent - started, http, *server, ended - client.answered)
        found.whole.append(1e3 * (ended - started))
        found.parts.append(tuple(1e3 * part for part in parts))
    client.close()
    return found


def quantile(times: Sequence[float], share: float) -> float:
    """Milliseconds that so large a share of ``times`` stays below."""
    return float(np.quantile(times, share))


@dataclass
class Turn:
    """Milliseconds of evaluations in process, of empty round trips, and steps over HTTP."""

    local: list[float]
    echo: list[float]
    steps: Steps

    @property
    def over(self) -> float:
        """What a step over HTTP costs beyond the same in process, medians."""
        return quantile(self.steps.whole, 0.5) - quantile(self.local, 0.5)


def findings(name: str, turns: Sequence[Turn]) -> Findings:
    """Rows of the difference, its parts, the baseline and the yardstick; medians over turns."""

    def of_turns(number: Callable[[Turn], float]) -> float:
        return median(map(number, turns))

    over = sorted(turn.over for turn in turns)
    label = f"{name}, {MOLECULE}: a step over HTTP − in process"
    found = Findings()
    alone = sorted(quantile(turn.local, 0.5) for turn in turns)
    if alone[-1] <= CALM * alone[0]:
        found.rows.append(at_most(f"{label}, p50", median(over), LIMIT_MS, "ms"))
    else:
        found.rows.append(absent(f"{label}, p50", f"≤ {LIMIT_MS:g}", "ms"))
        found.notes.append(
            f"The evaluation in process took {alone[-1] / alone[0]:.2f} times as long in its "
            f"slowest turn as in its fastest; more than {CALM:g} says that the machine was busy. "
            "Run it again."
        )
    found.rows += [
        plain(f"{label}, p50, median of the turns", median(over), "ms"),
        plain(f"{label}, p50, least of the turns", over[0], "ms"),
        plain(f"{label}, p50, most of the turns", over[-1], "ms"),
        plain("in process, p50", median(alone), "ms"),
        plain(
            "the same bytes through an empty FastAPI and http.client, p50",
            of_turns(lambda turn: quantile(turn.echo, 0.5)),
            "ms",
        ),
        plain(
            "p50 of a step over HTTP − in process, in such round trips",
            of_turns(lambda turn: turn.over / quantile(turn.echo, 0.5)),
            "×",
        ),
    ]
    for share, percent in ((0.5, "p50"), (0.95, "p95")):
        whole = of_turns(lambda turn, share=share: quantile(turn.steps.whole, share))
        found.rows.append(plain(f"step over HTTP, {percent}", whole, "ms"))
        for index, part in enumerate(PARTS):
            value = of_turns(
                lambda turn, share=share, index=index: quantile(
                    [parts[index] for parts in turn.steps.parts], share
                )
            )
            found.rows.append(plain(f"{part}, {percent}", value, "ms"))
    found.notes += [
        "HTTP is the time from the request to its answer less queue, graph and inference: both "
        "ways over loopback, the server's reading, checks and encoding, and its event loop.",
        f"{len(turns)} turns of each; numbers are medians of the turns' own.",
    ]
    return found


def main(
    model_repository: Repository = Path("model_repository"),
    model: Model = "painn_base",
    fake: Fake = False,
    seconds: Annotated[float, typer.Option(min=15.0, help="Time on the clock.")] = 40.0,
    core: Core = 0,
    other_core: OtherCore = 1,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/overhead.json"),
) -> None:
    """Measure on two cores with one thread each; write JSON and Markdown."""
    cores = require_two_cores(core, other_core)
    start_over_as_served(sys.argv, other_core)
    # Imported here because torch has to find the environment of that process.
    import torch
    from rich.console import Console

    from forcegate_bench.cores import layouts
    from forcegate_bench.echo import running_echo
    from forcegate_bench.gateway import start_gateway
    from forcegate_bench.machine import describe
    from forcegate_bench.structures import Shaken
    from forcegate_bench.subject import subject_of
    from forcegate_bench.timing import Local
    from forcegate_client.messages import PredictRequest
    from forcegate_client.wire import encode_request

    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    layout, shaken = layouts(*cores)[0], Shaken(MOLECULE)
    share = seconds / (3 * TURNS)
    turns = []
    with subject_of(model_repository, model, fake) as subject, ExitStack() as running:
        local = Local(shaken.next_batch, subject.in_process.answer)
        body = encode_request(PredictRequest(structures=shaken.next_batch(), model=subject.name))
        log = out.with_suffix(".echo.log")
        echo = running.enter_context(running_echo(body, layout.event_loop, log))
        gateway = running.enter_context(start_gateway(subject, layout, out.with_suffix(".log")))
        for _ in range(TURNS):
            with on_core(layout.inference):
                local.sample(WARM_UP_S)
                alone = local.sample(share)
            echo.sample(WARM_UP_S)
            empty = echo.sample(share)
            steps = measure_steps(gateway.address.url, subject.name, shaken, share)
            turns.append(Turn(alone, empty, steps))
    found = findings(subject.name, turns)
    found.notes.append(layout.remark)
    write(out, "What HTTP adds to a step", describe(), found)
    Console().print(out.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
