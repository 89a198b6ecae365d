"""A student in one's own process: a day of dynamics, batches, threads, and the first energy."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from forcegate_bench.report.rows import Findings, absent, at_least, at_most, plain
from forcegate_bench.report.timing import Local, ratio, take_turns
from forcegate_bench.subjects.structures import Shaken, structure
from forcegate_client.local.models import LocalModels
from forcegate_client.structures import StructureBatch
from forcegate_engine import Model, integrate

__all__ = ["measure_local", "table"]

_SIZES = (
    "aspirin (21 atoms)",
    "Ser-Phe-Val (50 atoms)",
    "cyclo-TPVLFVN (113 atoms)",
    "water box (375 atoms)",
    "water box (999 atoms)",
)
_TIMESTEP_FS = 0.5
# In a call: enough that its begin does not matter, few enough that calls can take turns.
_MOST_STEPS, _ATOM_STEPS = 20, 2000
_NS_PER_DAY = 86_400 * 1e3 * 1e-6  # of a step of one fs in one ms

# What each of them prints is when it was done; the process is started by a clock outside.
_FROM_NUMPY = """
import time
import numpy as np
from forcegate_engine import Model
began = time.perf_counter()
model = Model.open({folder!r})
opened = 1e3 * (time.perf_counter() - began)
model.evaluate([8, 1, 1], np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]]))
print(opened, flush=True)
"""
_THROUGH_ASE = """
from ase.build import molecule
from forcegate_client import LocalCalculator
atoms = molecule("H2O")
atoms.calc = LocalCalculator({folder!r})
atoms.get_potential_energy()
print(0, flush=True)
"""


@dataclass(frozen=True)
class _Moving:
    """Steps of dynamics of one structure, always the same ones."""

    model: Model
    atoms: Atoms

    @property
    def steps(self) -> int:
        """In a call."""
        return min(_MOST_STEPS, _ATOM_STEPS // len(self.atoms))

    def __call__(self, _: Any) -> None:
        integrate(
            self.model,
            *(self.atoms.numbers, self.atoms.positions, np.zeros((len(self.atoms), 3))),
            self.atoms.get_masses(),
            steps=self.steps,
            timestep_fs=_TIMESTEP_FS,
            cells=self.atoms.cell.array[None],
            pbc=self.atoms.pbc[None],
            threads=1,
        )

    def alone(self, _: Any) -> None:
        """The evaluations of the same steps, nothing moved."""
        for _ in range(self.steps + 1):
            self.model.evaluate(
                *(self.atoms.numbers, self.atoms.positions),
                cells=self.atoms.cell.array[None],
                pbc=self.atoms.pbc[None],
                threads=1,
            )


def measure_local(
    repository: Path, seconds: float, first: str, turns: int, core: int | None
) -> Findings:
    """Everything; the student ``first`` is started ``turns`` times, each way.

    One thread keeps to ``core`` (the last one unless given); two threads get another one as well,
    which this process keeps from here on.
    """
    cores = sorted(os.sched_getaffinity(0))
    one = cores[-1] if core is None else core
    os.sched_setaffinity(0, {one})
    models = LocalModels(repository, threads=1)
    found = _first_energy(models, first, turns)
    found.add(_dynamics(models, 0.6 * seconds))
    other = [each for each in cores if each != one]
    found.add(_sharing(models, 0.4 * seconds, {one, *other[-1:]}))
    return found


def _dynamics(models: LocalModels, seconds: float) -> Findings:
    """ns a day of every student and size, on one thread, in about ``seconds``.

    A call evaluates once more than it takes steps, at its begin; all of them count as steps.
    """
    found = Findings()
    names = models.repository.names
    share = seconds / (len(names) * len(_SIZES))
    for name in names:
        model = models.student(name).model
        for size in _SIZES:
            moving = _Moving(model, structure(size))
            ways: dict[str, Callable[[Any], None]] = {"steps": moving}
            if size == _SIZES[0]:
                ways["alone"] = moving.alone
            candidates = {way: Local(lambda: None, call) for way, call in ways.items()}
            times = take_turns(candidates, share)
            per_step = times["steps"].median / (moving.steps + 1)
            found.rows += [
                plain(f"{name}: {size}, a step", per_step, "ms"),
                plain(f"{name}: {size}", _NS_PER_DAY * _TIMESTEP_FS / per_step, "ns/day"),
            ]
            if "alone" in times:
                named = f"{name}: {size}, integrate / its evaluations alone"
                found.rows.append(at_most(named, ratio(times["steps"], times["alone"]), 1.05))
    return found


def _sharing(models: LocalModels, seconds: float, cores: set[int]) -> Findings:
    """What a batch costs over its molecules one by one, and what a second thread is worth.

    Two threads need two ``cores``, which this process keeps from here on.
    """
    found = Findings()
    names = models.repository.names
    share = seconds / (2 * len(names))
    single, batch = Shaken(_SIZES[0]), Shaken(_SIZES[0], copies=64)
    for name in names:
        call = _evaluations(models.student(name).model)
        times = take_turns({"1": call(single, 1), "64": call(batch, 1)}, share)
        of_each = ratio(times["64"], times["1"]) / 64
        found.rows.append(at_most(f"{name}: per molecule, batch of 64 / alone", of_each, 1.0))
    os.sched_setaffinity(0, cores)
    large = Shaken(_SIZES[-1])
    for name in names:
        call = _evaluations(models.student(name).model)
        for label, shaken, least in (("64 molecules", batch, 1.8), ("999 atoms", large, 1.6)):
            named = f"{name}: {label}, one thread / two"
            if len(cores) < 2:
                found.rows.append(absent(named, f"≥ {least:g}"))
                continue
            times = take_turns({"1": call(shaken, 1), "2": call(shaken, 2)}, share / 2)
            found.rows.append(at_least(named, ratio(times["1"], times["2"]), least))
    if len(cores) < 2:
        found.notes.append("One core: threads were not measured.")
    return found


def _evaluations(model: Model) -> Callable[[Shaken, int], Local]:
    def evaluation(shaken: Shaken, threads: int) -> Local:
        def evaluate(batch: StructureBatch) -> None:
            model.evaluate(
                batch.atomic_numbers,
                batch.positions,
                n_atoms=batch.n_atoms,
                cells=batch.cells,
                pbc=batch.pbc,
                threads=threads,
            )

        return Local(shaken.next_batch, evaluate)

    return evaluation


def _first_energy(models: LocalModels, name: str, turns: int) -> Findings:
    """From the start of a process to its first energy: the median of ``turns``."""
    folder = str(models.find(name).folder)
    whole: dict[str, list[float]] = {"numpy": [], "ase": []}
    opened: list[float] = []
    for _ in range(turns):
        for way, code in (("numpy", _FROM_NUMPY), ("ase", _THROUGH_ASE)):
            began = time.perf_counter()
            with subprocess.Popen(
                [sys.executable, "-c", code.format(folder=folder)],
                stdout=subprocess.PIPE,
                text=True,
            ) as child:
                assert child.stdout is not None
                told = child.stdout.readline()
                whole[way].append(time.perf_counter() - began)
            if way == "numpy":
                opened.append(float(told))
    numpy, ase = (statistics.median(whole[way]) for way in ("numpy", "ase"))
    return Findings(
        [
            at_most(f"{name}: first energy from numpy", numpy, 0.5, "s"),
            at_most(f"{name}: first energy through ASE", ase, 1.0, "s"),
            at_most(f"{name}: library and weights", statistics.median(opened), 50.0, "ms"),
        ]
    )


def table(found: Findings) -> str:
    """ns a day as a table: a line for each student, a column for each size."""
    values = {row.name: row.value for row in found.rows if row.unit == "ns/day"}
    names = list(dict.fromkeys(name.partition(":")[0] for name in values))
    lines = [["student", *_SIZES], ["---"] * (1 + len(_SIZES))]
    for name in names:
        cells = [values.get(f"{name}: {size}") for size in _SIZES]
        lines.append([f"`{name}`", *("–" if cell is None else f"{cell:.3g}" for cell in cells)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
