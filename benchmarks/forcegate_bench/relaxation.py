"""Molecules brought to their minima in batches: with the runtime here, and through a gateway.

A rate is geometries evaluated a second, over the whole time from the first structure to the last
result: a structure that took k steps was evaluated k + 1 times. In process the same relaxer asks
the same runtime, neighbour lists and all, for one batch of all slots at a time on the core that
inference has in the gateway; it has nothing to overlap with.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.optimize import FIRE

from forcegate_bench.calm import if_calm
from forcegate_bench.cores import Layout, layouts, on_core
from forcegate_bench.gateway import start_gateway
from forcegate_bench.in_process import InProcess
from forcegate_bench.rows import Findings, Row, absent, at_least, at_most, plain
from forcegate_bench.subject import Subject
from forcegate_client.calculator import RemoteCalculator
from forcegate_client.client import Client
from forcegate_client.dataset import load_dataset
from forcegate_client.messages import Predictions
from forcegate_client.relaxation import Evaluate, Relaxed, evaluator, relax_batched
from forcegate_client.structures import StructureBatch

__all__ = ["Task", "measure_relaxation", "shaken_molecules"]

_FMAX = 0.05  # eV/Å
_SHAKE = 0.05  # Å
_WANTED = 0.9
_SAME_MINIMUM_MEV = 1.0
_WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Task:
    """What is relaxed, with how many steps at most, how many at a time, how many with ASE too."""

    frames: list[Atoms]
    steps: int
    slots: int
    check: int


@dataclass(frozen=True)
class _Run:
    """``evaluating_s`` is the time inside ``evaluate``, over all its threads."""

    results: list[Relaxed]
    seconds: float
    evaluating_s: float

    @property
    def geometries(self) -> int:
        return sum(one.steps + 1 for one in self.results if one.problem is None)

    @property
    def rate(self) -> float:
        return self.geometries / self.seconds


def shaken_molecules(path: Path, count: int, seed: int = 0) -> list[Atoms]:
    """Frames of different molecules, as far as there are so many; each atom is moved."""
    dataset = load_dataset(path)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(dataset.n_atoms))
    _, first = np.unique(dataset.molecule_id[order], return_index=True)
    others = np.setdiff1d(np.arange(len(order)), first)
    chosen = order[np.concatenate([rng.permutation(first), others])[:count]]
    bounds = np.concatenate([[0], np.cumsum(dataset.n_atoms)])
    frames = []
    for frame in chosen.tolist():
        rows = slice(bounds[frame], bounds[frame + 1])
        moved = dataset.positions[rows]
        frames.append(
            Atoms(dataset.atomic_numbers[rows], moved + rng.normal(scale=_SHAKE, size=moved.shape))
        )
    return frames


def measure_relaxation(subject: Subject, cores: tuple[int, int], task: Task, log: Path) -> Findings:
    """Rates and their ratios, and how far the minima are from those of ASE's FIRE."""
    found = Findings()
    with on_core(cores[0]):
        before = _run(_evaluate_here(subject.in_process), task, in_flight=1)
    both = []
    for number, layout in enumerate(layouts(*cores)):
        with (
            start_gateway(subject, layout, log) as gateway,
            on_core(layout.traffic),
            Client(gateway.address.url) as client,
        ):
            both.append((layout, _run(evaluator(client, subject.name), task, in_flight=2)))
            gateway.require_whole()
            if number == 0:
                found.rows += _beside_ase(client, subject.name, task, both[0][1].results)
    with on_core(cores[0]):
        after = _run(_evaluate_here(subject.in_process), task, in_flight=1)
    what = f"{subject.name}: geometries/s in process"
    for (layout, run), want in zip(both, (_WANTED, None), strict=True):
        rows = _rows(subject.name, layout, run, (before, after), want)
        found.add(if_calm(rows, what, before.rate, after.rate))
        found.notes.append(layout.remark)
    for name, run in (("before", before), ("after", after)):
        found.rows.append(plain(f"{what} {name}", run.rate, "geometries/s"))
    found.notes.append(
        "In process: the same relaxer and runtime, one batch of all slots at a time, on the core "
        "that inference has. Its evaluation alone is the time inside the runtime, with neighbour "
        "lists and without the relaxer's arithmetic. A rate counts geometries evaluated."
    )
    return found


def _rows(
    name: str, layout: Layout, run: _Run, baselines: tuple[_Run, _Run], want: float | None
) -> list[Row]:
    label = f"{name}, {layout.name}, {len(run.results)} molecules"
    whole = sum(one.rate for one in baselines) / 2
    alone = sum(one.geometries / one.evaluating_s for one in baselines) / 2
    ratio = f"{label}: over the same relaxation in process"
    share = run.rate / whole
    failed = sum(one.problem is not None for one in run.results)
    return [
        plain(ratio, share, "×") if want is None else at_least(ratio, share, want),
        plain(f"{label}: over the evaluation alone in process", run.rate / alone, "×"),
        plain(label, run.rate, "geometries/s"),
        plain(f"{label}: in all", run.seconds, "s"),
        plain(f"{label}: converged", sum(one.converged for one in run.results), "molecules"),
        plain(f"{label}: failed", failed, "molecules"),
    ]


def _run(evaluate: Evaluate, task: Task, in_flight: int) -> _Run:
    """Once for a few steps, to warm up; then in earnest."""
    inside: list[float] = []

    def timed(batch: StructureBatch) -> Predictions:
        start = time.perf_counter()
        try:
            return evaluate(batch)
        finally:
            inside.append(time.perf_counter() - start)

    def relaxed(steps: int) -> list[Relaxed]:
        found = relax_batched(
            task.frames,
            timed,
            fmax=_FMAX,
            max_steps=steps,
            slots=task.slots,
            in_flight=in_flight,
        )
        return sorted(found, key=lambda one: one.index)

    relaxed(_WARM_UP_STEPS)
    inside.clear()
    start = time.perf_counter()
    results = relaxed(task.steps)
    return _Run(results, time.perf_counter() - start, sum(inside))


def _evaluate_here(model: InProcess) -> Evaluate:
    def evaluate(batch: StructureBatch) -> Predictions:
        energy, forces = model.answer(batch)
        return Predictions(np.arange(len(batch)), batch.n_atoms, energy, forces)

    return evaluate


def _beside_ase(client: Client, name: str, task: Task, results: list[Relaxed]) -> list[Row]:
    """The first few, one at a time with ASE's FIRE and the same gateway, where both got there."""
    differences = []
    for one in results[: task.check]:
        if one.problem is not None:
            continue
        atoms = task.frames[one.index].copy()
        atoms.calc = RemoteCalculator(model=name, client=client)
        converged = FIRE(atoms, logfile=None).run(fmax=_FMAX, steps=task.steps)
        if converged and one.converged:
            assert one.energy is not None
            differences.append(1e3 * abs(atoms.get_potential_energy() - one.energy))
    label = f"{name}: largest difference of a minimum to that of ASE's FIRE"
    if not differences:
        return [absent(label, f"≤ {_SAME_MINIMUM_MEV:g}", "meV")]
    return [
        at_most(label, max(differences), _SAME_MINIMUM_MEV, "meV"),
        plain(f"{name}: minima compared with ASE's", len(differences), "molecules"),
    ]
