"""Molecules brought to their minima in batches: with the runtime here, and through a gateway.

A rate is geometries evaluated a second, over the whole time from the first structure to the last
result: a structure that took k steps was evaluated k + 1 times. In process the same relaxer asks
the same runtime, neighbour lists and all, for one batch of all slots at a time on the core that
inference has in the gateway; it has nothing to overlap with. Both take turns.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from forcegate_bench.machine import procfs
from forcegate_bench.machine.cores import Layout, layouts, on_core
from forcegate_bench.report.rows import (
    MOVED_AT_MOST,
    Findings,
    Row,
    absent,
    at_least,
    is_calm,
    plain,
)
from forcegate_bench.servers.gateway import start_gateway
from forcegate_bench.serving.minima import beside_ase
from forcegate_bench.subjects.in_process import InProcess
from forcegate_bench.subjects.subject import Subject
from forcegate_client.dataset import load_dataset
from forcegate_client.http.client import Client
from forcegate_client.messages import Predictions
from forcegate_client.relaxation import Evaluate, Relaxed, evaluator, relax_batched
from forcegate_client.structures import StructureBatch

__all__ = ["Task", "measure_relaxation", "shaken_molecules"]

_FMAX = 0.05  # eV/Å
_SHAKE = 0.02  # Å
_HOTTEST = 500.0  # K
_WANTED = 0.9
_WARM_UP_STEPS = 3
# The gateway, its inference and the client need both cores, the baseline one: whoever else works
# on the other takes from the gateway alone.
_OTHERS_AT_MOST = 0.1  # cores


@dataclass(frozen=True)
class Task:
    """What is relaxed, with how many steps at most, how many at a time; how often each way; how
    many with ASE too.
    """

    frames: list[Atoms]
    steps: int
    slots: int
    turns: int
    check: int


@dataclass(frozen=True)
class _Run:
    """``evaluating_s`` is the time inside ``evaluate``, over all its threads; ``others`` what
    processes that have no part in it took, in cores.
    """

    results: list[Relaxed]
    seconds: float
    evaluating_s: float
    others: float

    @property
    def geometries(self) -> int:
        return sum(one.steps + 1 for one in self.results if one.problem is None)

    @property
    def rate(self) -> float:
        return self.geometries / self.seconds


def shaken_molecules(path: Path, count: int, seed: int = 0) -> list[Atoms]:
    """Frames of different neutral molecules, as far as there are so many; each atom is moved.

    From dynamics at up to 500 K: where bonds were stretched or pressed already, a move leaves what
    any student has learned.
    """
    dataset = load_dataset(path)
    rng = np.random.default_rng(seed)
    warm = (dataset.temperature > 0.0) & (dataset.temperature <= _HOTTEST)
    thermal = np.flatnonzero(warm & (dataset.charge == 0))
    order = rng.permutation(thermal)
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
    here = _evaluate_here(subject.in_process)
    for number, layout in enumerate(layouts(*cores)):
        with (
            start_gateway(subject, layout, log) as gateway,
            Client(gateway.address.url) as client,
        ):
            there = evaluator(client, subject.name)
            pids = [os.getpid(), *gateway.pids.values()]
            with on_core(cores[0]):
                _relaxed(here, task, _WARM_UP_STEPS, in_flight=1)
            with on_core(layout.traffic):
                _relaxed(there, task, _WARM_UP_STEPS)
            alone, served = [], []
            for turn in range(task.turns + 1):
                with on_core(cores[0]):
                    alone.append(_run(here, task, pids, cores, in_flight=1))
                if turn < task.turns:
                    with on_core(layout.traffic):
                        served.append(_run(there, task, pids, cores))
            gateway.require_whole()
        found.add(_compared(subject.name, layout, alone, served, number == 0))
        found.notes.append(layout.remark)
        if number == 0 and task.check:
            checked = served[0].results[: task.check]
            with on_core(cores[0]):
                found.rows += beside_ase(
                    subject.name,
                    subject.in_process,
                    task.frames,
                    checked,
                    fmax=_FMAX,
                    steps=task.steps,
                )
    found.notes.append(
        "In process: the same relaxer and runtime, one batch of all slots at a time, on the core "
        "that inference has. Its evaluation alone is the time inside the runtime, with neighbour "
        "lists and without the relaxer's arithmetic. A rate counts geometries evaluated. Each turn "
        "through the gateway is compared with the turns in process before and after it."
    )
    if subject.fake:
        found.notes.append(
            "The toy only pushes: inner atoms are driven through each other, and the gateway "
            "refuses structures with two atoms closer than 0.4 Å. Its failures are no defect, and "
            "its ratio says nothing."
        )
    return found


def _compared(
    name: str, layout: Layout, alone: list[_Run], served: list[_Run], asked: bool
) -> Findings:
    """The ratio is the median over the turns during which the machine was left alone."""
    label = f"{name}, {layout.name}, {len(served[0].results)} molecules"
    wholes, evaluations, disturbed = [], [], 0
    for run, (before, after) in zip(served, pairwise(alone), strict=True):
        if run.others > _OTHERS_AT_MOST or not is_calm(before.rate, after.rate):
            disturbed += 1
            continue
        around = (before, after)
        wholes.append(run.rate / statistics.mean(one.rate for one in around))
        evaluations.append(
            run.rate / statistics.mean(one.geometries / one.evaluating_s for one in around)
        )
    found = Findings([*_ratios(label, wholes, evaluations, asked), *_counts(label, alone, served)])
    if disturbed:
        found.notes.append(
            f"{label}: in {disturbed} of {len(served)} turns the rate in process moved by more "
            f"than ±{MOVED_AT_MOST:.0%}, or others took more than {_OTHERS_AT_MOST:g} cores: the "
            "machine was busy, and these turns are left out."
        )
    return found


def _ratios(label: str, wholes: list[float], evaluations: list[float], asked: bool) -> list[Row]:
    ratio = f"{label}: over the same relaxation in process"
    if not wholes:
        return [absent(ratio, f"≥ {_WANTED:g}" if asked else None)]
    share = statistics.median(wholes)
    return [
        at_least(ratio, share, _WANTED) if asked else plain(ratio, share, "×"),
        plain(
            f"{label}: over the evaluation alone in process", statistics.median(evaluations), "×"
        ),
    ]


def _counts(label: str, alone: list[_Run], served: list[_Run]) -> list[Row]:
    results = served[0].results
    failures = Counter(str(one.problem["code"]) for one in results if one.problem is not None)
    return [
        plain(label, statistics.median(run.rate for run in served), "geometries/s"),
        plain(f"{label}: in process", statistics.median(run.rate for run in alone), "geometries/s"),
        plain(f"{label}: in all", statistics.median(run.seconds for run in served), "s"),
        plain(f"{label}: taken by others", max(run.others for run in served), "cores"),
        plain(f"{label}: geometries", served[0].geometries, "geometries"),
        plain(f"{label}: converged", sum(one.converged for one in results), "molecules"),
        plain(f"{label}: failed", failures.total(), "molecules"),
        *(plain(f"{label}: failed, {code}", n, "molecules") for code, n in failures.items()),
    ]


def _run(
    evaluate: Evaluate,
    task: Task,
    pids: list[int],
    cores: tuple[int, int],
    in_flight: int | None = None,
) -> _Run:
    inside: list[float] = []

    def timed(batch: StructureBatch) -> Predictions:
        start = time.perf_counter()
        try:
            return evaluate(batch)
        finally:
            inside.append(time.perf_counter() - start)

    def taken_by_others() -> float:
        return procfs.busy_s(cores) - sum(map(procfs.cpu_s, pids))

    before, start = taken_by_others(), time.perf_counter()
    results = _relaxed(timed, task, task.steps, in_flight)
    seconds = time.perf_counter() - start
    others = (taken_by_others() - before) / seconds
    return _Run(results, seconds, sum(inside), others)


def _relaxed(
    evaluate: Evaluate, task: Task, steps: int, in_flight: int | None = None
) -> list[Relaxed]:
    """In the order of the frames; as many groups in flight as the client chooses unless given."""
    options: dict[str, Any] = {} if in_flight is None else {"in_flight": in_flight}
    found = relax_batched(
        task.frames, evaluate, fmax=_FMAX, max_steps=steps, slots=task.slots, **options
    )
    return sorted(found, key=lambda one: one.index)


def _evaluate_here(model: InProcess) -> Evaluate:
    def evaluate(batch: StructureBatch) -> Predictions:
        energy, forces = model.answer(batch)
        return Predictions(np.arange(len(batch)), batch.n_atoms, energy, forces)

    return evaluate
