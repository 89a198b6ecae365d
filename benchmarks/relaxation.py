"""What is left of the rate at which batches are relaxed in process when a gateway answers them.

Five hundred molecules of the dataset, each atom moved, brought to their minima by the same
relaxer: with the runtime in this process and through a gateway on loopback, in turns. The first
hundred are relaxed by ASE's FIRE as well, one at a time.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from forcegate_bench.options import Core, Fake, Model, OtherCore, Repository, require_two_cores
from forcegate_bench.process import start_over_as_served
from forcegate_client.cli.outspoken import run


def main(
    model_repository: Repository = Path("model_repository"),
    model: Model = "painn_base",
    fake: Fake = False,
    dataset: Annotated[Path, typer.Option()] = Path("datasets/forcegate_v3_1.h5"),
    molecules: Annotated[int, typer.Option(min=1)] = 500,
    steps: Annotated[int, typer.Option(min=1, help="Most steps for each.")] = 500,
    slots: Annotated[int, typer.Option(min=1, help="On their way at a time.")] = 256,
    turns: Annotated[int, typer.Option(min=1, help="So often each way.")] = 2,
    check: Annotated[int, typer.Option(min=0, help="So many with ASE's FIRE as well.")] = 100,
    core: Core = 0,
    other_core: OtherCore = 1,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/relaxation.json"),
) -> None:
    """Measure with one torch thread; write JSON and Markdown."""
    cores = require_two_cores(core, other_core)
    start_over_as_served(sys.argv, other_core)
    # Imported here because torch has to find the environment of that process.
    import torch
    from rich.console import Console

    from forcegate_bench.machine import describe
    from forcegate_bench.relaxation import Task, measure_relaxation, shaken_molecules
    from forcegate_bench.rows import write
    from forcegate_bench.subject import subject_of

    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    task = Task(shaken_molecules(dataset, molecules), steps, slots, turns, check)
    with subject_of(model_repository, model, fake) as subject:
        found = measure_relaxation(subject, cores, task, out.with_suffix(".log"))
    write(out, "Relaxation in batches", describe(), found)
    Console().print(out.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
