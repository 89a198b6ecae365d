"""Processes as Linux tells of them: children, cores, processor time, memory."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

__all__ = [
    "busy_s",
    "children",
    "command_line",
    "cpu_s",
    "cpu_shares",
    "descendants",
    "growth",
    "is_alive",
    "memory_every",
    "pin",
    "resident_mib",
    "started",
]

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
# Fields of /proc/<pid>/stat after the name in brackets, which may hold anything.
_STATE, _PARENT, _USER, _SYSTEM, _STARTED = 0, 1, 11, 12, 19
# Of a core's line in /proc/stat; what guests took, which user time holds already, comes after it.
_IDLE, _WAITING = 3, 4


def children(pid: int) -> set[int]:
    """The processes that ``pid`` started and that have not ended."""
    numbers = [int(folder.name) for folder in _PROC.iterdir() if folder.name.isdecimal()]
    fields_of = {number: _stat(number) for number in numbers}
    return {
        number
        for number, fields in fields_of.items()
        if fields and int(fields[_PARENT]) == pid and fields[_STATE] != "Z"
    }


def descendants(pid: int) -> set[int]:
    """Children, and theirs."""
    found = children(pid)
    for child in list(found):
        found |= descendants(child)
    return found


def started(pid: int) -> int | None:
    """When the process began, in ticks; with its number it names it for good. None: it ended."""
    fields = _stat(pid)
    return int(fields[_STARTED]) if fields and fields[_STATE] != "Z" else None


def is_alive(pid: int, since: int) -> bool:
    """Whether the process that began at ``since`` has not ended."""
    return started(pid) == since


def command_line(pid: int) -> str:
    """Program and arguments; nothing if it ended."""
    try:
        return (_PROC / str(pid) / "cmdline").read_text("utf-8", "replace").replace("\0", " ")
    except OSError:
        return ""


def pin(pid: int, core: int) -> None:
    """Keep every thread of a process to one core; later ones inherit it."""
    for thread in (_PROC / str(pid) / "task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def cpu_s(pid: int) -> float:
    """Processor time that the process has taken so far, in steps of 10 ms; NaN if it ended."""
    fields = _stat(pid)
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS if fields else float("nan")


def busy_s(cores: Iterable[int]) -> float:
    """Time in which these cores did anything for anybody so far; on a virtual machine also what
    its host took away.
    """
    wanted = {f"cpu{core}" for core in cores}
    lines = (line.split() for line in (_PROC / "stat").read_text("utf-8").splitlines())
    ticks = [list(map(int, line[1:9])) for line in lines if line and line[0] in wanted]
    return sum(sum(times) - times[_IDLE] - times[_WAITING] for times in ticks) / _TICKS


def resident_mib(pid: int) -> float:
    """Resident memory; NaN if it ended."""
    try:
        lines = (_PROC / str(pid) / "status").read_text("utf-8").splitlines()
    except OSError:
        return float("nan")
    kib = next((line.split()[1] for line in lines if line.startswith("VmRSS")), "nan")
    return float(kib) / 1024


async def cpu_shares(pids: Iterable[int], after_s: float, seconds: float) -> dict[int, float]:
    """The part of a core that each process takes, from ``after_s`` on for ``seconds``."""
    pids = list(pids)
    await asyncio.sleep(after_s)
    began, before = time.perf_counter(), [cpu_s(pid) for pid in pids]
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - began
    return {pid: (cpu_s(pid) - then) / elapsed for pid, then in zip(pids, before, strict=True)}


async def memory_every(seconds: float, pids: Iterable[int], into: dict[int, list[float]]) -> None:
    """Append the resident memory (MiB) of each process to its list, until it is cancelled."""
    pids = list(pids)
    while True:
        for pid in pids:
            into.setdefault(pid, []).append(resident_mib(pid))
        await asyncio.sleep(seconds)


def growth(mib: Sequence[float], part: float = 1 / 3) -> float:
    """By what part the mean of the last ``part`` of the samples exceeds that of the first.

    One of them at least is in each; NaN if a sample is: the process ended.
    """
    count = max(1, int(part * len(mib)))
    return float(np.mean(mib[-count:]) / np.mean(mib[:count]) - 1.0)


def _stat(pid: int) -> list[str]:
    try:
        text = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
