"""How much memory a process needs that holds one compiled model and evaluates it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from forcegate_bench.models import preset_package
from forcegate_bench.rows import Findings, plain
from forcegate_bench.structures import Shaken
from forcegate_service.graph import build_graph

__all__ = ["measure_memory"]

# A process of its own with nothing but what inference needs. The peak is the kernel's account of
# this program alone: the one of getrusage goes on from the process that started it.
_PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import torch
from forcegate_service.compiled import CompiledModule

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

libraries = peak()
module = CompiledModule(Path(sys.argv[1]))
with np.load(sys.argv[2], allow_pickle=False) as arrays:
    inputs = [torch.from_numpy(arrays[name]) for name in arrays.files]
loaded = peak()
for _ in range(5):
    module(*inputs)
print(libraries, loaded, peak())
"""
_CASES = (("aspirin (21 atoms)", 1), ("aspirin (21 atoms)", 64), ("water box (999 atoms)", 1))
_CUTOFF = 5.0


def measure_memory(models: tuple[str, ...] = ("painn_base",)) -> Findings:
    """Peak resident memory: libraries, what the model adds, what evaluations add."""
    found = Findings()
    with tempfile.TemporaryDirectory() as folder:
        for name in models:
            for structure, copies in _CASES:
                inputs = Path(folder) / "inputs.npz"
                np.savez(inputs, *build_graph(Shaken(structure, copies).batch, _CUTOFF).arrays())
                command = [sys.executable, "-c", _PROGRAM, str(preset_package(name)), str(inputs)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                libraries, loaded, peak = map(float, done.stdout.split())
                where = structure + (f" × {copies}" if copies > 1 else "")
                label = f"memory, {name}, {where}"
                found.rows.append(plain(f"{label}: added by evaluations", peak - loaded, "MiB"))
                found.rows.append(plain(f"{label}: peak of the process", peak, "MiB"))
            found.rows.append(plain(f"memory, {name}: added by loading", loaded - libraries, "MiB"))
    return found
