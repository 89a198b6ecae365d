"""How much of the runtime's own rate is left when it is asked over HTTP.

Many clients with one structure in each request, then one client with large batches; the server on
two cores and on one. The rate in process is the best of all batch sizes, before and after.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from forcegate_bench.options import Core, Fake, OtherCore, Repository, require_two_cores
from forcegate_bench.process import start_over_as_served
from forcegate_client.cli.outspoken import run

BASE = "painn_base"


def main(
    model_repository: Repository = Path("model_repository"),
    model: Annotated[list[str] | None, typer.Option(help="As often as you like.")] = None,
    fake: Fake = False,
    seconds: Annotated[float, typer.Option(min=1.0, help="Of each kind of traffic.")] = 20.0,
    core: Core = 0,
    other_core: OtherCore = 1,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/load.json"),
) -> None:
    """Measure with one torch thread; write JSON and Markdown."""
    cores = require_two_cores(core, other_core)
    start_over_as_served(sys.argv, other_core)
    # Imported here because torch has to find the environment of that process.
    import torch
    from rich.console import Console

    from forcegate_bench.machine import describe
    from forcegate_bench.rows import Findings, write
    from forcegate_bench.subject import subject_of
    from forcegate_bench.throughput import Wanted, measure_throughput

    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    found = Findings()
    models = ["fake"] if fake else model or [BASE]
    sizes = {}
    for name in models:
        with subject_of(model_repository, name, fake) as subject:
            sizes[name] = subject.n_parameters
    smallest = min(sizes, key=lambda name: sizes[name])
    for name in models:
        one_core = {BASE: 0.75}.get(name, 0.70 if name == smallest else None)
        wanted = Wanted() if fake else Wanted(0.85, one_core, 0.95)
        with subject_of(model_repository, name, fake) as subject:
            log = out.with_suffix(".log")
            found.add(measure_throughput(subject, cores, wanted, seconds, log))
    if not fake:
        found.notes.append("On two cores, 0.95 of the rate in process is the aim beyond 0.85.")
    write(out, "Throughput over HTTP", describe(), found)
    Console().print(out.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
