"""What a step over HTTP costs beyond the same evaluation in process, and where that goes.

Inference has a core of its own; the gateway's event loop and the client take turns on the other
one. The evaluation in process (neighbour list and runtime, without ASE) runs on inference's core,
in turns with the steps, and so does a round trip of the same bytes through a server that does
nothing, as a yardstick of the machine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from forcegate_bench.machine.cores import layouts, on_core
from forcegate_bench.report.rows import Findings, absent, at_most, plain
from forcegate_bench.report.timing import Local
from forcegate_bench.servers.echo import running_echo
from forcegate_bench.servers.gateway import start_gateway
from forcegate_bench.subjects.structures import Shaken
from forcegate_bench.subjects.subject import MOLECULE, Subject
from forcegate_client import Client, RemoteCalculator
from forcegate_client.http.steps import Step
from forcegate_client.messages import PredictRequest
from forcegate_client.wire import encode_request

__all__ = ["PARTS", "Steps", "measure_overhead", "measure_steps", "quantile"]

_LIMIT_MS = 0.5
_WARM_UP_S = 0.5
_TURNS = 5
# A machine on which the same evaluation takes so much longer in one turn than in another has other
# work to do, and a difference of two times measures that.
_CALM = 1.15
PARTS = ("client, before sending", "HTTP", "queue", "graph", "inference", "client, after answer")


class _ObservedClient(Client):
    """Notes when a request left and when its answer was there, and what the server says of it."""

    sent = answered = 0.0
    timing: dict[str, float]

    def predict(self, *args: Any, **options: Any) -> Any:
        """As ever."""
        response = super().predict(*args, **options)
        self.timing = response.timing
        return response

    def _perform(self, step: Step) -> Any:
        self.sent = time.perf_counter()
        try:
            return super()._perform(step)
        finally:
            self.answered = time.perf_counter()


@dataclass
class Steps:
    """Milliseconds of steps over HTTP: as a whole, and of each of ``PARTS``."""

    whole: list[float] = field(default_factory=list)
    parts: list[tuple[float, ...]] = field(default_factory=list)


def measure_steps(url: str, model: str, shaken: Shaken, seconds: float) -> Steps:
    """Evaluate energy and forces over HTTP for so long."""
    client, found = _ObservedClient(url), Steps()
    atoms = shaken.atoms.copy()
    atoms.calc = RemoteCalculator(model=model, client=client)
    begin = time.perf_counter() + _WARM_UP_S
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
class _Turn:
    """Milliseconds of evaluations in process, of empty round trips, and steps over HTTP."""

    local: list[float]
    echo: list[float]
    steps: Steps

    @property
    def over(self) -> float:
        """What a step over HTTP costs beyond the same in process, medians."""
        return quantile(self.steps.whole, 0.5) - quantile(self.local, 0.5)


def measure_overhead(
    subject: Subject, cores: tuple[int, int], seconds: float, log: Path
) -> Findings:
    """The difference, its parts and the yardstick, within about ``seconds`` on the clock."""
    layout, shaken = layouts(*cores)[0], Shaken(MOLECULE)
    share = seconds / (3 * _TURNS)
    local = Local(shaken.next_batch, subject.in_process.answer)
    body = encode_request(PredictRequest(structures=shaken.next_batch(), model=subject.name))
    turns = []
    with (
        running_echo(body, layout.event_loop, log.with_suffix(".echo.log")) as echo,
        start_gateway(subject, layout, log) as gateway,
    ):
        for _ in range(_TURNS):
            with on_core(layout.inference):
                local.sample(_WARM_UP_S)
                alone = local.sample(share)
            echo.sample(_WARM_UP_S)
            empty = echo.sample(share)
            steps = measure_steps(gateway.address.url, subject.name, shaken, share)
            turns.append(_Turn(alone, empty, steps))
    found = _findings(subject.name, turns)
    found.notes.append(layout.remark)
    return found


def _findings(name: str, turns: Sequence[_Turn]) -> Findings:
    """Rows of the difference, its parts, the baseline and the yardstick; medians over turns."""

    over = sorted(turn.over for turn in turns)
    label = f"{name}, {MOLECULE}: a step over HTTP − in process"
    found = Findings()
    alone = sorted(quantile(turn.local, 0.5) for turn in turns)
    if alone[-1] <= _CALM * alone[0]:
        found.rows.append(at_most(f"{label}, p50", median(over), _LIMIT_MS, "ms"))
    else:
        found.rows.append(absent(f"{label}, p50", f"≤ {_LIMIT_MS:g}", "ms"))
        found.notes.append(
            f"The evaluation in process took {alone[-1] / alone[0]:.2f} times as long in its "
            f"slowest turn as in its fastest; more than {_CALM:g} says that the machine was busy. "
            "Run it again."
        )
    found.rows += [
        plain(f"{label}, p50, median of the turns", median(over), "ms"),
        plain(f"{label}, p50, least of the turns", over[0], "ms"),
        plain(f"{label}, p50, most of the turns", over[-1], "ms"),
        plain("in process, p50", median(alone), "ms"),
        plain(
            "the same bytes through an empty FastAPI and http.client, p50",
            median(quantile(turn.echo, 0.5) for turn in turns),
            "ms",
        ),
        plain(
            "p50 of a step over HTTP − in process, in such round trips",
            median(turn.over / quantile(turn.echo, 0.5) for turn in turns),
            "×",
        ),
    ]
    for share, percent in ((0.5, "p50"), (0.95, "p95")):
        whole = median(quantile(turn.steps.whole, share) for turn in turns)
        found.rows.append(plain(f"step over HTTP, {percent}", whole, "ms"))
        of_parts = [zip(*turn.steps.parts, strict=True) for turn in turns]
        for part, times in zip(PARTS, zip(*of_parts, strict=True), strict=True):
            value = median(quantile(of_one, share) for of_one in times)
            found.rows.append(plain(f"{part}, {percent}", value, "ms"))
    found.notes += [
        "HTTP is the time from the request to its answer less queue, graph and inference: both "
        "ways over loopback, the server's reading, checks and encoding, and its event loop.",
        f"{len(turns)} turns of each; numbers are medians of the turns' own.",
    ]
    return found
