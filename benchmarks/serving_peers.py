"""The gateway beside FastAPI, LitServe and ASE's socket calculator, all with the same weights."""

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
    seconds: Annotated[float, typer.Option(min=1.0, help="Of each column.")] = 10.0,
    core: Core = 0,
    other_core: OtherCore = 1,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/serving-peers.json"),
) -> None:
    """Measure with one torch thread; write JSON and Markdown."""
    cores = require_two_cores(core, other_core)
    start_over_as_served(sys.argv, other_core)
    # Imported here because torch has to find the environment of that process.
    import torch
    from rich.console import Console

    from forcegate_bench.machine import describe
    from forcegate_bench.rows import write
    from forcegate_bench.serving_peers import measure_serving_peers
    from forcegate_bench.subject import subject_of

    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    scripted = subject_of(model_repository, model, fake, engine=False)
    with scripted as in_script, subject_of(model_repository, model, fake) as shipped:
        log = out.with_suffix(".log")
        found = measure_serving_peers(in_script, shipped, cores, seconds, log)
    write(out, "Serving the same model", describe(), found)
    Console().print(out.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
