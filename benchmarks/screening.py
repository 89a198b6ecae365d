"""A library through ``forcegate screen``: how much of the rate in process is left, and what five
kills cost.

Inference on one core, the gateway's event loop and the client on the other. The library is made of
small frames of a dataset; the same frames in batches of the same size are the baseline in process,
before and after.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from forcegate_bench.options import Core, Fake, OtherCore, Repository, require_two_cores
from forcegate_bench.process import start_over_as_served
from forcegate_client.cli.outspoken import run


def main(
    model_repository: Repository = Path("model_repository"),
    model: Annotated[str, typer.Option()] = "painn_ultra_tiny",
    dataset: Annotated[Path, typer.Option()] = Path("datasets/forcegate_v3_1.h5"),
    structures: Annotated[int, typer.Option(min=2000)] = 100_000,
    kills: Annotated[int, typer.Option(min=0)] = 5,
    fake: Fake = False,
    core: Core = 0,
    other_core: OtherCore = 1,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/screening.json"),
) -> None:
    """Measure with one torch thread; write JSON and Markdown."""
    cores = require_two_cores(core, other_core)
    start_over_as_served(sys.argv, other_core)
    # Imported here because torch has to find the environment of that process.
    import torch
    from rich.console import Console

    from forcegate_bench.machine import describe
    from forcegate_bench.rows import write
    from forcegate_bench.screening import measure_screening
    from forcegate_bench.subject import subject_of

    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    with subject_of(model_repository, model, fake) as subject:
        found = measure_screening(subject, cores, dataset, structures, kills, out)
    write(out, "Screening", describe(), found)
    Console().print(out.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
