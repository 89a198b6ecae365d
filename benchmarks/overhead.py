"""What a step over HTTP costs beyond the same evaluation in process, and where that goes.

The gateway keeps to one core and the client to another. The evaluation in process (neighbour list
and runtime, without ASE) runs on the client's core, before the gateway starts and after it ends.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from forcegate_bench.cores import on_core
from forcegate_bench.process import start_over_as_served
from forcegate_bench.rows import Findings, absent, at_most, plain, write
from forcegate_bench.timing import Local
from forcegate_client import Client, RemoteCalculator

if TYPE_CHECKING:
    from forcegate_bench.structures import Shaken

MOLECULE = "aspirin (21 atoms)"
LIMIT_MS = 0.5
WARM_UP_S = 0.5
# What moves the baseline by more than this moves the difference as well.
CALM = 0.05
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


def evaluation_of(folder: Path, fake: bool, shaken: Shaken) -> Local:
    """The runtime that the gateway uses for ``folder``, in this process."""
    if not fake:
        from forcegate_bench.models import Model

        return Model.stored(folder).evaluation_with_neighbours(shaken)
    from forcegate_service.fake import load_fake
    from forcegate_service.graph import build_graph

    toy = load_fake(folder)
    return Local(shaken.next_batch, lambda batch: toy.evaluate(build_graph(batch, toy.card.cutoff)))


def quantile(times: Sequence[float], share: float) -> float:
    """Milliseconds that so large a share of ``times`` stays below."""
    return float(np.quantile(times, share))


def findings(
    name: str, before: list[float], steps: Steps, after: list[float], echo: list[float]
) -> Findings:
    """Rows of the difference, its parts, the baseline and the yardstick."""
    baseline = quantile(before + after, 0.5)
    first, last = quantile(before, 0.5), quantile(after, 0.5)
    found = Findings()
    label = f"{name}, {MOLECULE}: a step over HTTP − in process"
    calm = abs(last / first - 1) <= CALM
    if calm:
        found.rows.append(
            at_most(f"{label}, p50", quantile(steps.whole, 0.5) - baseline, LIMIT_MS, "ms")
        )
    else:
        found.rows.append(absent(f"{label}, p50", f"≤ {LIMIT_MS:g}", "ms"))
        found.notes.append(
            f"The evaluation in process took {last / first - 1:+.0%} after the steps; "
            f"more than ±{CALM:.0%} says that the machine was busy. Run it again."
        )
    over, bare = quantile(steps.whole, 0.5) - baseline, quantile(echo, 0.5)
    found.rows += [
        plain("the same bytes through an empty FastAPI and http.client, p50", bare, "ms"),
        plain("p50 of a step over HTTP − in process, in such round trips", over / bare, "×"),
        plain(f"{label}, p95 over its p50", quantile(steps.whole, 0.95) - baseline, "ms"),
        plain("step over HTTP, p50", quantile(steps.whole, 0.5), "ms"),
        plain("step over HTTP, p95", quantile(steps.whole, 0.95), "ms"),
        plain("in process before, p50", first, "ms"),
        plain("in process after, p50", last, "ms"),
    ]
    for part, times in zip(PARTS, zip(*steps.parts, strict=True), strict=True):
        found.rows.append(plain(f"{part}, p50", quantile(times, 0.5), "ms"))
        found.rows.append(plain(f"{part}, p95", quantile(times, 0.95), "ms"))
    found.notes.append(
        "HTTP is the time from the request to its answer less queue, graph and inference: both "
        "ways over loopback, the server's reading, checks and encoding, and its event loop."
    )
    return found


def main(
    model_repository: Annotated[Path, typer.Option()] = Path("model_repository"),
    model: Annotated[str, typer.Option()] = "painn_base",
    fake: Annotated[
        bool, typer.Option("--fake", help="A toy: the cost of everything else.")
    ] = False,
    seconds: Annotated[float, typer.Option(min=1.0, help="Time on the clock.")] = 30.0,
    core: Annotated[int, typer.Option(help="The client's core.")] = 1,
    server_core: Annotated[int, typer.Option(help="The gateway's core.")] = 0,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/overhead.json"),
) -> None:
    """Measure on two cores with one thread each; write JSON and Markdown."""
    start_over_as_served(sys.argv, core)
    # Imported here because torch has to find the environment of that process.
    import torch
    from rich.console import Console

    from forcegate_bench.echo import measure_echo
    from forcegate_bench.gateway import wait_until_compiled
    from forcegate_bench.machine import describe
    from forcegate_bench.structures import Shaken
    from forcegate_client.messages import PredictRequest
    from forcegate_client.wire import encode_request
    from forcegate_service.loading import version_folders
    from forcegate_trainer.demo.gateway import running_gateway
    from latency import repository_of

    torch.set_num_threads(1)
    os.environ["FORCEGATE_TORCH_THREADS"] = "1"
    name = "fake" if fake else model
    out.parent.mkdir(parents=True, exist_ok=True)
    shaken = Shaken(MOLECULE)
    with repository_of(model_repository, fake) as repository, ExitStack() as running:
        folder = [path for path in version_folders(repository) if path.parent.name == name][-1]
        local = evaluation_of(folder, fake, shaken)
        local.sample(WARM_UP_S)
        before = local.sample(0.25 * seconds)
        with on_core(server_core):
            gateway = running_gateway(repository, out.with_suffix(".log"))
            url = running.enter_context(gateway)
        if not fake:
            wait_until_compiled(url, name)
        steps = measure_steps(url, name, shaken, 0.5 * seconds)
        running.close()
        request = encode_request(PredictRequest(structures=shaken.next_batch(), model=name))
        echo = measure_echo(request, 0.1 * seconds, server_core, out.with_suffix(".echo.log"))
        after = local.sample(0.25 * seconds)
    found = findings(name, before, steps, after, echo)
    write(out, "What HTTP adds to a step", describe(), found)
    Console().print(out.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    typer.run(main)
