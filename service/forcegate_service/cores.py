"""How many cores this process may keep busy."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["two_cores_with", "usable_cores"]

_MEMBERSHIP = Path("/proc/self/cgroup")
_HIERARCHY = Path("/sys/fs/cgroup")


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
