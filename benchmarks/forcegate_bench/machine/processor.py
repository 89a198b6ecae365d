"""What the numbers belong to: the machine, and how fast one of its cores multiplies matrices."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch

__all__ = ["MatrixProducts", "describe"]

_SIDE = 1536
_LEVELS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")


def describe() -> dict[str, object]:
    """Processor, versions, threads and date; no names of hosts and no paths."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    facts = {
        key.strip(): value.strip()
        for key, found, value in (line.partition(":") for line in lines)
        if found
    }
    flags = facts.get("flags", facts.get("Features", "")).split()
    return {
        "cpu": facts.get("model name") or platform.machine(),
        "family/model": f"{facts.get('cpu family', '?')}/{facts.get('model', '?')}",
        "instructions": " ".join(level for level in _LEVELS if level in flags),
        "cores": os.cpu_count(),
        "cores of this process": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "MKL_CBWR": os.environ.get("MKL_CBWR", ""),
        "load average": round(os.getloadavg()[0], 1),
        "date": datetime.now(UTC).date().isoformat(),
    }


class MatrixProducts:
    """Large square products in single precision; takes turns with what it is compared to.

    By the library that torch uses and by oneDNN with packed weights: on some processors the one
    reaches half the rate of the other, and a limit is what the core can do.
    """

    def __init__(self) -> None:
        a, b, out = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE), torch.empty(_SIDE, _SIDE)
        self._ways: list[Callable[[], object]] = [lambda: torch.mm(a, b, out=out)]
        if torch.backends.mkldnn.is_available():
            packed = torch.ops.mkldnn._reorder_linear_weight(b, _SIDE)
            linear = torch.ops.mkldnn._linear_pointwise
            self._ways.append(lambda: linear(a, packed, None, "none", [], ""))
        # GFLOP/s; the best is what the core can do, every other one was disturbed.
        self.best_rate = 0.0

    def sample(self, seconds: float) -> list[float]:
        """Milliseconds of every product."""
        times: list[float] = []
        end = time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            for multiply in self._ways:
                started = time.perf_counter()
                multiply()
                times.append(1e3 * (time.perf_counter() - started))
        self.best_rate = max(self.best_rate, 2e-6 * _SIDE**3 / min(times))
        return times
