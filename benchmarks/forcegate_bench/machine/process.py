"""The process that measures: environment as served, one core, one thread."""

from __future__ import annotations

import os
import sys

from forcegate_bench.paths import CACHE
from forcegate_service.machine import keeping_memory, round_alike_in_every_batch

__all__ = ["is_as_served", "measuring_environment", "start_over_as_served"]

_MARK = "BENCH_PROCESS"


def measuring_environment(threads: int = 1) -> dict[str, str]:
    """What a serving process runs with, and as many threads for every library."""
    environment = keeping_memory(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[name] = str(threads)
    # What torch.compile makes for peers and training is found again by the next run.
    environment.setdefault("TORCHINDUCTOR_CACHE_DIR", str(CACHE / "inductor"))
    environment[_MARK] = "1"
    return environment


def is_as_served() -> bool:
    """Whether this process was started over already."""
    return os.environ.get(_MARK) == "1"


def start_over_as_served(core: int | None = None) -> None:
    """Replace this process by one with the serving environment, kept on one core.

    Memory settings are read when a process starts, so that they cannot be set in a running one.
    ``core`` is the last of those allowed unless given. Call it before torch is imported.
    """
    if not is_as_served():
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[-1] if core is None else core})
        command = [sys.executable, "-m", "forcegate_bench", *sys.argv[1:]]
        os.execve(sys.executable, command, measuring_environment())
    round_alike_in_every_batch()
