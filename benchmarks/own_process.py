"""What a student does in one's own process: ns a day, batches, threads, the first energy's wait.

Every student of a repository, on one core with one thread, and on two with two; two minutes. Writes
JSON, and Markdown whose table README shows.
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
    seconds: Annotated[float, typer.Option(min=1.0, help="Time on the clock.")] = 100.0,
    turns: Annotated[int, typer.Option(min=1, help="Processes that are started, each way.")] = 7,
    first: Annotated[str, typer.Option(help="The student whose first energy is timed.")] = (
        "painn_base"
    ),
    core: Annotated[int | None, typer.Option(help="The core to keep to; else the last.")] = None,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/own_process.json"),
) -> None:
    """Measure on one core, threads on two; write JSON and Markdown."""
    cores = sorted(os.sched_getaffinity(0))
    one = cores[-1] if core is None else core
    os.sched_setaffinity(0, {one})
    from rich.console import Console

    from forcegate_bench.machine import describe
    from forcegate_bench.own_process import (
        measure_dynamics,
        measure_first_energy,
        measure_sharing,
        table,
    )
    from forcegate_bench.rows import write
    from forcegate_client.local.models import LocalModels

    models = LocalModels(model_repository, threads=1)
    found = measure_first_energy(models, first, turns)
    found.add(measure_dynamics(models, 0.6 * seconds))
    other = [each for each in cores if each != one]
    found.add(measure_sharing(models, 0.4 * seconds, {one, *other[-1:]}))
    write(out, "A student in one's own process", describe(), found)
    text = out.with_suffix(".md")
    head = "## ns a day, steps of 0.5 fs, one thread\n\n"
    text.write_text(f"{text.read_text(encoding='utf-8')}\n{head}{table(found)}\n", encoding="utf-8")
    Console().print(text.read_text(encoding="utf-8"), markup=False)


if __name__ == "__main__":
    run(main)
