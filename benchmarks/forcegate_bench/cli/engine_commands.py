"""The commands that measure students in this process, on one core unless they say otherwise.

What measures is imported inside, after the process has been started over.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from forcegate_bench.cli.frame import Core, Out, Repository, Seconds, app, publish
from forcegate_bench.machine.process import is_as_served, start_over_as_served
from forcegate_bench.paths import CACHE, RESULTS
from forcegate_client.cli.outspoken import OutspokenCommand


@app.command(cls=OutspokenCommand)
def quick(seconds: Seconds = 50.0, core: Core = None, out: Out = None) -> None:
    """Every ratio that is asked of the engine, in one run of one to two minutes."""
    _start_on_one_core(core)
    from forcegate_bench.engine.suite import measure_all, show

    show(out or RESULTS / "quick.json", "The engine, quickly", measure_all(seconds))


@app.command(cls=OutspokenCommand)
def full(seconds: Seconds = 480.0, out: Out = None) -> None:
    """The same at more length; all models, batches and sizes, one thread and all."""
    from forcegate_bench.report.rows import Findings, read, write

    # The sweep with all threads comes first: once this process keeps to one core, so do its
    # children.
    apart = CACHE / "sweeps.json"
    if not is_as_served():
        from forcegate_bench.engine.sweeps import sweep_apart

        swept = Findings()
        for threads in sorted({1, len(os.sched_getaffinity(0))}):
            swept.add(sweep_apart(threads, 0.25 * seconds))
        write(apart, "Sweeps", {}, swept)
    _start_on_one_core()
    from forcegate_bench.engine.peers import KNOWN_PEERS
    from forcegate_bench.engine.suite import measure_all, show

    found = measure_all(0.5 * seconds, tuple(KNOWN_PEERS), ("painn_base", "painn_ultra_tiny"))
    # The curves of the sweep are longer; those of the same name give way.
    found.add(read(apart))
    show(out or RESULTS / "full.json", "The engine on a CPU", found)


@app.command(cls=OutspokenCommand)
def training(
    seconds: Seconds = 30.0,
    core: Core = None,
    out: Out = None,
) -> None:
    """Whole training steps a second, eager and compiled."""
    _start_on_one_core(core)
    from forcegate_bench.engine.training import measure_training

    publish(out or RESULTS / "training.json", "Training steps", measure_training(seconds))


@app.command(cls=OutspokenCommand)
def local(
    model_repository: Repository = Path("model_repository"),
    seconds: Seconds = 100.0,
    turns: Annotated[int, typer.Option(min=1, help="Processes that are started, each way.")] = 7,
    first: Annotated[str, typer.Option(help="The student whose first energy is timed.")] = (
        "painn_base"
    ),
    core: Core = None,
    out: Out = None,
) -> None:
    """Students in one's own process: ns a day, batches, two threads, the first energy's wait."""
    from forcegate_bench.engine.local import measure_local, table

    found = measure_local(model_repository, seconds, first, turns, core)
    # README shows this table.
    more = f"\n## ns a day, steps of 0.5 fs, one thread\n\n{table(found)}\n"
    publish(out or RESULTS / "local.json", "A student in one's own process", found, more)


@app.command(cls=OutspokenCommand)
def gpu(
    device: Annotated[str, typer.Option(help="cpu: a dry run of the same code.")] = "cuda",
    preset: Annotated[list[str] | None, typer.Option(help="Which; all unless given.")] = None,
    model_repository: Repository = Path("model_repository"),
    seconds: Annotated[float, typer.Option(min=0.0, help="On the clock, per line.")] = 0.3,
    largest_batch: Annotated[int, typer.Option(min=1)] = 1024,
    boxes: Annotated[bool, typer.Option(help="Also periodic boxes of water.")] = True,
    out: Out = None,
) -> None:
    """All models on a CUDA GPU, checked against the CPU first; about five minutes."""
    from rich.console import Console

    from forcegate_bench.engine.gpu import NoGpu, measure_gpu

    path = out or RESULTS / "gpu.json"
    try:
        table = measure_gpu(device, preset, model_repository, seconds, largest_batch, boxes, path)
    except NoGpu as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    Console().print(table)


@app.command(cls=OutspokenCommand)
def install_peers(
    peers: Annotated[list[str] | None, typer.Argument(help="Which; all unless given.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also those that are there.")] = False,
) -> None:
    """Make environments for what is measured beside forcegate; PIP_ARGS goes to pip."""
    from forcegate_bench.engine import install_peers as installing

    failed = installing.install_peers(peers, again)
    for peer in failed:
        print(f"{peer}: not installed; it will be missing from the tables", file=sys.stderr)
    raise typer.Exit(1 if failed else 0)


def _start_on_one_core(core: int | None = None) -> None:
    start_over_as_served(core)
    # Imported here because torch has to find the environment of that process.
    import torch

    torch.set_num_threads(1)
