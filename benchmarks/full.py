"""Everything that is measured of the engine on a CPU; a quarter of an hour."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from forcegate_bench.process import start_over_as_served
from forcegate_client.cli.outspoken import run


def main(
    seconds: Annotated[float, typer.Option(min=1.0, help="Time on the clock.")] = 480.0,
    out: Annotated[Path, typer.Option()] = Path("benchmarks/results/full.json"),
) -> None:
    """What `quick.py` measures, at more length, and sweeps over models, batches and threads."""
    # The sweep with all threads comes first: once this process keeps to one core, so do its
    # children.
    from forcegate_bench.paths import CACHE
    from forcegate_bench.rows import Findings, read, write

    apart = CACHE / "sweeps.json"
    if os.environ.get("BENCH_PROCESS") != "1":
        from forcegate_bench.sweeps import sweep_apart

        swept = Findings()
        for threads in sorted({1, len(os.sched_getaffinity(0))}):
            swept.add(sweep_apart(threads, 0.25 * seconds))
        write(apart, "Sweeps", {}, swept)
    start_over_as_served(sys.argv)
    import torch

    torch.set_num_threads(1)
    from forcegate_bench.asked import measure_all, publish
    from forcegate_bench.peers import KNOWN_PEERS

    found = measure_all(0.5 * seconds, tuple(KNOWN_PEERS), ("painn_base", "painn_ultra_tiny"))
    # The curves of the sweep are longer; those of the same name give way.
    found.add(read(apart))
    publish(out, "The engine on a CPU", found)


if __name__ == "__main__":
    run(main)
