"""Every ratio that is asked of the engine, in one run of one to two minutes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from forcegate_bench.process import start_over_as_served
from forcegate_client.cli.outspoken import run


def main(
    seconds: Annotated[float, typer.Option(min=1.0, help="Time on the clock.")] = 50.0,
    core: Annotated[int | None, typer.Option(help="The core to keep to; else the last.")] = None,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/quick.json"),
) -> None:
    """Measure on one core with one thread; write JSON, Markdown and plots."""
    start_over_as_served(sys.argv, core)
    # Imported here because torch has to find the environment of that process.
    import torch

    torch.set_num_threads(1)
    from forcegate_bench.asked import measure_all, publish

    publish(out, "The engine, quickly", measure_all(seconds))


if __name__ == "__main__":
    run(main)
