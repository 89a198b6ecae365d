"""How much memory a process needs that holds one model and evaluates it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from forcegate_bench.report.rows import Findings, plain
from forcegate_bench.subjects.models import preset_weights
from forcegate_bench.subjects.structures import Shaken

__all__ = ["measure_memory"]

# A process of its own with nothing but what evaluation needs. The peak is the kernel's account of
# this program alone: the one of getrusage goes on from the process that started it.
_PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from forcegate_engine import Model

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

libraries = peak()
model = Model(Path(sys.argv[1]).read_bytes())
with np.load(sys.argv[2], allow_pickle=False) as arrays:
    numbers, positions, *others = (arrays[name] for name in arrays.files)
loaded = peak()
for _ in range(5):
    model.evaluate(numbers, positions, **dict(zip(("n_atoms", "cells", "pbc"), others)), threads=1)
print(libraries, loaded, peak())
"""
_CASES = (("aspirin (21 atoms)", 1), ("aspirin (21 atoms)", 64), ("water box (999 atoms)", 1))


def measure_memory(models: tuple[str, ...] = ("painn_base",)) -> Findings:
    """Peak resident memory: libraries, what the model adds, what evaluations add."""
    found = Findings()
    with tempfile.TemporaryDirectory() as folder:
        inputs, weights = Path(folder) / "inputs.npz", Path(folder) / "weights"
        for name in models:
            weights.write_bytes(preset_weights(name))
            for structure, copies in _CASES:
                batch = Shaken(structure, copies).batch
                arrays = (batch.atomic_numbers, batch.positions, batch.n_atoms, batch.cells)
                np.savez(inputs, *arrays, batch.pbc)
                command = [sys.executable, "-c", _PROGRAM, str(weights), str(inputs)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                libraries, loaded, peak = map(float, done.stdout.split())
                where = structure + (f" × {copies}" if copies > 1 else "")
                label = f"memory, {name}, {where}"
                found.rows.append(plain(f"{label}: added by evaluations", peak - loaded, "MiB"))
                found.rows.append(plain(f"{label}: peak of the process", peak, "MiB"))
            found.rows.append(plain(f"memory, {name}: added by loading", loaded - libraries, "MiB"))
    return found
