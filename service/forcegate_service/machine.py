"""What this process takes of the machine: cores, the memory that it keeps, and how it rounds."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Mapping
from pathlib import Path

__all__ = [
    "give_back_memory",
    "keeping_memory",
    "round_alike_in_every_batch",
    "rounding_alike",
    "two_cores_with",
    "usable_cores",
]

_MEMBERSHIP = Path("/proc/self/cgroup")
_HIERARCHY = Path("/sys/fs/cgroup")
_MIB = 1024 * 1024
# glibc's variables, which other C libraries ignore. By default a block of more than 32 MiB goes
# back to the system when it is freed, and the next one of its kind is faulted in page by page:
# 12,000 faults per batch for a temporary of 48 MiB, and none with these.
_KEEPING = {
    "MALLOC_MMAP_THRESHOLD_": 1024 * _MIB,
    "MALLOC_TRIM_THRESHOLD_": 1024 * _MIB,
    "MALLOC_TOP_PAD_": 64 * _MIB,
}
_ROUNDING = {"MKL_CBWR": "AUTO,STRICT"}


def usable_cores() -> int:
    """Those it may run on, or as many as its container or unit pays for, if that is fewer.

    Linux keeps what a control group may use in ``cpu.max``, microseconds of processor time in each
    period, or ``max`` (https://docs.kernel.org/admin-guide/cgroup-v2.html); the tightest of a
    group and its ancestors counts.
    """
    allowed = len(os.sched_getaffinity(0))
    group = _group()
    quotas = [_quota(folder) for folder in (group, *group.parents)]
    return max(1, min([allowed, *(quota for quota in quotas if quota is not None)]))


def two_cores_with(pid: int) -> bool:
    """Whether this process and process ``pid`` may run at the same time, each on a core."""
    try:
        return len(os.sched_getaffinity(0) | os.sched_getaffinity(pid)) > 1
    except (AttributeError, OSError):
        # Not Linux, or it has just ended.
        return (os.cpu_count() or 1) > 1


def _group() -> Path:
    """The folder of this process's control group."""
    try:
        lines = _MEMBERSHIP.read_text().splitlines()
    except OSError:
        return _HIERARCHY
    within = [line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    # Of a group outside this container's view, only its root can be seen.
    return _HIERARCHY.joinpath(*(part for part in Path(*within).parts if part != ".."))


def _quota(folder: Path) -> int | None:
    try:
        most, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if most == "max" else math.ceil(int(most) / int(period))


def keeping_memory(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` for a process that evaluates models; what is set in it already stays."""
    return {name: str(value) for name, value in _KEEPING.items()} | dict(environment)


def give_back_memory() -> None:
    """Return to the system what was freed; nothing happens where the C library is not glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def round_alike_in_every_batch() -> None:
    """Ask the matrix library for results that do not depend on the number of rows.

    It otherwise chooses another kernel for another size, and a structure's forces differ in the
    sixth digit with whoever happens to be computed beside it: trajectories could not be repeated.
    Measured at 21 and 16 × 21 atoms, this costs nothing that stands out of the noise. Call it
    before the first matrix product of the process; a value that is set already is kept.
    """
    os.environ.update(rounding_alike(os.environ))


def rounding_alike(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` for a process that is to round so; what is set in it already stays."""
    return _ROUNDING | dict(environment)
