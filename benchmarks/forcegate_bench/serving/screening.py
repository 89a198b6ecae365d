"""A library through ``forcegate screen`` in a process of its own, left alone and killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from forcegate_bench.machine import procfs
from forcegate_bench.machine.cores import busy, layouts, on_core
from forcegate_bench.report.rows import Findings, at_least, at_most, if_calm, plain
from forcegate_bench.servers.gateway import start_gateway
from forcegate_bench.subjects.in_process import InProcess
from forcegate_bench.subjects.subject import Subject
from forcegate_client.dataset import Dataset, load_dataset, write_dataset
from forcegate_client.reading.library import Library, open_library

__all__ = ["measure_screening"]

_BATCHES = (32, 64, 128, 256)
_MOST_ATOMS = 24
_AT_ONCE = 8
_PART = 1024
_SCREEN = "from forcegate_client.cli.app import main; main()"


def measure_screening(
    subject: Subject,
    cores: tuple[int, int],
    dataset: Path,
    structures: int,
    kills: int,
    log: Path,
) -> Findings:
    """Rate, memory, and whether kills lose or repeat anything."""
    layout, _ = layouts(*cores)
    found = Findings(notes=[layout.remark])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = folder / "library.h5"
        write_dataset(library, _small_frames(load_dataset(dataset), structures))
        with on_core(layout.inference):
            before = _rate(subject.in_process, open_library([library]))
        with start_gateway(subject, layout, log) as gateway:
            command = [sys.executable, "-c", _SCREEN, "screen", str(library), "--url"]
            command += [gateway.address.url, "--model", subject.name]
            command += ["--at-once", str(_AT_ONCE), "--part-size", str(_PART)]
            with on_core(layout.traffic):
                seconds, memory = _undisturbed([*command, "--out", str(folder / "whole")])
                broken = _killed([*command, "--out", str(folder / "killed")], kills, seconds, found)
            gateway.require_whole()
        with on_core(layout.inference):
            after = _rate(subject.in_process, open_library([library]))
            with busy(layout.event_loop):
                beside = _rate(subject.in_process, open_library([library]))
        whole, killed = (_rows(folder / run / "results.h5") for run in ("whole", "killed"))
    label = f"{subject.name}, {structures} structures"
    rate = structures / seconds
    share = at_least(f"{label}: over in process", 2 * rate / (before + after), 0.9)
    found.add(if_calm([share], f"{subject.name}: structures/s in process", before, after))
    index, energy = killed
    lost = structures - len(np.unique(index))
    found.rows += [
        plain(f"{label}: screened, from first to last part", rate, "structures/s"),
        plain(f"{label}: in process, before", before, "structures/s"),
        plain(f"{label}: in process, after", after, "structures/s"),
        plain(f"{label}: in process, the other core busy", beside, "structures/s"),
        at_most(f"{label}: memory of the client", memory, 500, "MiB"),
        at_most(f"{label}, {broken} kills: lost", lost, 0, "structures"),
        at_most(f"{label}, {broken} kills: twice", len(index) - len(set(index)), 0, "structures"),
        at_most(
            f"{label}, {broken} kills: energies off those without",
            float(np.abs(energy - whole[1]).max()) if len(energy) == len(whole[1]) else np.inf,
            1e-4,
            "eV",
        ),
    ]
    return found


def _small_frames(dataset: Dataset, wanted: int) -> Dataset:
    """Frames of few atoms, again from the front if there are not enough of them."""
    small = np.flatnonzero((dataset.n_atoms <= _MOST_ATOMS) & (dataset.charge == 0))
    return dataset.select(np.resize(small, wanted))


def _rate(model: InProcess, library: Library) -> float:
    """Structures a second at the best batch size, over some thousand of them."""
    batch = library.chunk(0, min(library.size, 4096)).structures
    best = 0.0
    for size in _BATCHES:
        parts = [
            batch.select(np.arange(start, start + size))
            for start in range(0, len(batch) - size + 1, size)
        ]
        model.answer(parts[0])
        began = time.perf_counter()
        for part in parts:
            model.answer(part)
        best = max(best, size * len(parts) / (time.perf_counter() - began))
    return best


def _undisturbed(command: list[str]) -> tuple[float, float]:
    """Seconds between the first and the last part, scaled to all of them; peak memory in MiB."""
    out = Path(command[-1])
    process = subprocess.Popen(command)
    memory = 0.0
    while process.poll() is None:
        memory = max(memory, np.nan_to_num(procfs.resident_mib(process.pid)))
        time.sleep(0.1)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    times = sorted(path.stat().st_mtime for path in (out / "parts").glob("*.h5"))
    # Starting Python and plotting are not what is measured; as many parts as are under way end
    # soon after the first.
    return (times[-1] - times[0]) * len(times) / (len(times) - 1), memory


def _killed(command: list[str], kills: int, seconds: float, found: Findings) -> int:
    """Kill it at random moments, then let it end; parts on disk are never written again."""
    parts = Path(command[-1]) / "parts"
    chance = random.Random(0)
    killed = 0
    known: dict[str, int] = {}
    rewritten = 0
    for _ in range(kills):
        process = subprocess.Popen(command, start_new_session=True)
        count = len(known)
        # Start-up is over once it makes headway: then at any moment of a part of the work.
        while process.poll() is None and len(_inodes(parts)) <= count:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, seconds / (kills + 1)))
        if process.poll() is None:
            process.kill()
            killed += 1
        process.wait()
        now = _inodes(parts)
        rewritten += sum(now.get(name) != inode for name, inode in known.items())
        known = now
    subprocess.run(command, check=True)
    now = _inodes(parts)
    rewritten += sum(now.get(name) != inode for name, inode in known.items())
    found.rows.append(at_most(f"{killed} kills: parts computed again", rewritten, 0, "parts"))
    return killed


def _inodes(parts: Path) -> dict[str, int]:
    if not parts.is_dir():
        return {}
    return {entry.name: entry.inode() for entry in os.scandir(parts) if entry.name[0] != "."}


def _rows(results: Path) -> tuple[np.ndarray, np.ndarray]:
    with h5py.File(results, "r") as file:
        return file["rows/index"][()], file["rows/energy"][()]
