"""What a student does in one's own process: ns a day of dynamics, and the first energy's wait.

Every student of a repository, on one core with one thread; a minute and a half. Writes JSON, and
Markdown whose table README shows.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from forcegate_bench.options import Repository
from forcegate_client.cli.outspoken import run


def main(
    model_repository: Repository = Path("model_repository"),
    seconds: Annotated[float, typer.Option(min=1.0, help="Time on the clock.")] = 70.0,
    turns: Annotated[int, typer.Option(min=1, help="Processes that are started, each way.")] = 7,
    first: Annotated[str, typer.Option(help="The student whose first energy is timed.")] = (
        "painn_base"
    ),
    core: Annotated[int | None, typer.Option(help="The core to keep to; else the last.")] = None,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/own_process.json"),
) -> None:
    """Measure on one core; write JSON and Markdown."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0)) if core is None else core})
    from rich.console import Console

    from forcegate_bench.machine import describe
    from forcegate_bench.own_process import measure_dynamics, measure_first_energy, table
    from forcegate_bench.rows import write
    from forcegate_client.local.models import LocalModels

    models = LocalModels(model_repository, threads=1)
    found = measure_first_energy(models, first, turns)
    found.add(measure_dynamics(models, seconds))
    write(out, "A student in one's own process", describe(), found)
    text = out.with_suffix(".md")
    head = "## ns a day, steps of 0.5 fs, one thread\n\n"
    text.write_text(f"{text.read_text(encoding='utf-8')}\n{head}{table(found)}\n", encoding="utf-8")
    Console().print(text.read_text(encoding="utf-8"), markup=False)


if __name__ == "__main__":
    run(main)
