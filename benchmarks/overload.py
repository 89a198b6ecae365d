"""What becomes of requests when four times as many arrive as can be answered."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from forcegate_bench.options import Core, Fake, Model, OtherCore, Repository, require_two_cores
from forcegate_bench.process import start_over_as_served
from forcegate_client.cli.outspoken import run

# Until a queue of ten seconds is full, at three seconds of surplus work a second, and a while.
FILL_S = 12.0


def main(
    model_repository: Repository = Path("model_repository"),
    model: Model = "painn_base",
    fake: Fake = False,
    seconds: Annotated[float, typer.Option(min=1.0, help="At each rate.")] = 60.0,
    structures: Annotated[int, typer.Option(min=1, help="In each request.")] = 16,
    queue_budget_s: Annotated[float, typer.Option(help="FORCEGATE_QUEUE_BUDGET_S.")] = 0.5,
    drain_structures: Annotated[int, typer.Option(help="The same for the advice.")] = 128,
    drain_budget_s: Annotated[float, typer.Option(help="The same for the advice.")] = 10.0,
    connections: Annotated[int, typer.Option(min=1, help="To begin with.")] = 48,
    most_connections: Annotated[int, typer.Option(min=1)] = 2048,
    core: Core = 0,
    other_core: OtherCore = 1,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/overload.json"),
) -> None:
    """Measure with one torch thread; write JSON and Markdown."""
    cores = require_two_cores(core, other_core)
    start_over_as_served(sys.argv, other_core)
    # Imported here because torch has to find the environment of that process.
    import torch
    from rich.console import Console

    from forcegate_bench.machine import describe
    from forcegate_bench.overload import Overload, measure_overload
    from forcegate_bench.rows import write
    from forcegate_bench.subject import subject_of

    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    short = Overload(structures, queue_budget_s, connections, most_connections, seconds)
    fill_s = min(seconds, FILL_S)
    long = Overload(drain_structures, drain_budget_s, connections, most_connections, fill_s)
    with subject_of(model_repository, model, fake) as subject:
        log = out.with_suffix(".log")
        found = measure_overload(subject, cores, short, long, log)
    write(out, "Overload", describe(), found)
    Console().print(out.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
