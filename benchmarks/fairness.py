"""What a step of dynamics waits for beside requests of ten thousand structures."""

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
    structures: Annotated[int, typer.Option(min=1, help="In a request of the campaign.")] = 10_000,
    in_flight: Annotated[int, typer.Option(min=1, help="Requests of the campaign.")] = 2,
    batch_target_s: Annotated[float, typer.Option(help="FORCEGATE_BATCH_TARGET_S.")] = 0.05,
    seconds: Annotated[float, typer.Option(min=1.0, help="Of each stretch.")] = 30.0,
    core: Core = 0,
    other_core: OtherCore = 1,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/fairness.json"),
) -> None:
    """Measure with one torch thread; write JSON and Markdown."""
    cores = require_two_cores(core, other_core)
    start_over_as_served(sys.argv, other_core)
    # Imported here because torch has to find the environment of that process.
    import torch
    from rich.console import Console

    from forcegate_bench.fairness import measure_fairness
    from forcegate_bench.machine import describe
    from forcegate_bench.rows import write
    from forcegate_bench.subject import subject_of

    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    with subject_of(model_repository, model, fake) as subject:
        found = measure_fairness(
            subject, cores, structures, in_flight, batch_target_s, seconds, out.with_suffix(".log")
        )
    write(out, "Dynamics beside a campaign", describe(), found)
    Console().print(out.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
