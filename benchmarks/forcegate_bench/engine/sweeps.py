"""Every model over batches and sizes, with a given number of threads.

Run as a process of its own, because threads and memory belong to a process:
``python -m forcegate_bench.engine.sweeps THREADS SECONDS OUT``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from forcegate_bench.engine.edges import edge_curve
from forcegate_bench.machine.process import measuring_environment
from forcegate_bench.paths import ROOT
from forcegate_bench.report.rows import Findings, plain, read
from forcegate_bench.report.timing import take_turns
from forcegate_bench.subjects.structures import BOXES, ORGANIC, Shaken

__all__ = ["sweep", "sweep_apart"]

_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_ASPIRIN = "aspirin (21 atoms)"


def sweep_apart(threads: int, seconds: float) -> Findings:
    """``sweep`` in a process with so many threads, on as many cores."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, "-m", __name__, str(threads), str(seconds)]
        subprocess.run([*command, str(out)], env=measuring_environment(threads), check=True)
        return read(out)


def sweep(threads: int, seconds: float, repository: Path) -> Findings:
    """Batches of aspirin, and one structure of every size, for presets and stored models."""
    from forcegate_bench.subjects.models import Model
    from forcegate_service.contract.graph import build_graph
    from forcegate_service.models.loading import version_folders
    from forcegate_trainer.network.config import PRESETS

    models = [Model.preset(name) for name in PRESETS]
    if repository.is_dir():
        models += [Model.stored(folder) for folder in version_folders(repository)]
    found = Findings()
    with_threads = f"{threads} thread{'s' if threads > 1 else ''}"
    share = 0.5 * seconds / len(models)
    for model in models:
        # Stored models beside presets of the same name would only hide each other in a plot.
        drawn = model.name in PRESETS
        curve = f"{model.name}, {with_threads}"
        shaken = {size: Shaken(_ASPIRIN, copies=size) for size in _BATCHES}
        times = take_turns({str(n): model.evaluation(s) for n, s in shaken.items()}, share, turns=3)
        for size in _BATCHES:
            timing = times[str(size)]
            label = f"{curve}, aspirin, batch {size}"
            found.rows.append(plain(label, timing.median / size, "ms/molecule"))
            if drawn:
                found.draw("batch", curve, size, timing, 1 / size)
        names = [*ORGANIC, *BOXES]
        times = take_turns({n: model.evaluation(Shaken(n)) for n in names}, share, turns=3)
        for name, timing in times.items():
            n_edges = build_graph(Shaken(name).batch, model.cutoff).n_edges
            found.rows.append(plain(f"{curve}, {name}", timing.median, "ms"))
            if drawn:
                n_atoms = len(Shaken(name).atoms)
                found.draw(
                    "edges",
                    edge_curve(model.name, name, threads),
                    n_atoms,
                    timing,
                    1e3 / n_edges,
                )
    return found


def main(threads: int, seconds: float, out: Path) -> None:
    """Measure in this process and write what was found."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(allowed[-threads:]))
    import torch

    from forcegate_service.machine import round_alike_in_every_batch

    round_alike_in_every_batch()
    torch.set_num_threads(threads)
    out.write_text(json.dumps(asdict(sweep(threads, seconds, ROOT / "model_repository"))), "utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]))
