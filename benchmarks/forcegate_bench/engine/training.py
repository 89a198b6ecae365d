"""Whole training steps a second: autograd twice, the gradient written out, and compiled.

A step is everything: assembling the batch, loss, gradient, clipping, AdamW, average of weights.
The same steps on the same batches are taken by turns:

- *eager*: forces by autograd and differentiated once more, as PaiNN is usually trained, in a
  process of its own that leaves memory to the C library's defaults;
- *eager, memory kept*: the same in the process of the others, which keeps freed memory;
- *written out*: forces by the backward that is part of the model, still eager, memory kept;
- *compiled*: what `forcegate-train fit` does.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from forcegate_bench.report.rows import Findings, at_least, plain
from forcegate_bench.subjects.eager import EagerPotential
from forcegate_client.dataset import Frame, MoleculeTable, Source, Split, TeacherRecord
from forcegate_client.dataset.frames import Labels, from_frames, with_labels
from forcegate_trainer.data.molecules.structures import atomic_numbers, conformers, hydrogenated
from forcegate_trainer.fit.batch import epoch_order, frame_batch
from forcegate_trainer.fit.config import FitConfig
from forcegate_trainer.fit.device import keep_memory
from forcegate_trainer.fit.graphs import FrameGraphs
from forcegate_trainer.fit.step import TrainingStep
from forcegate_trainer.network.config import PRESETS
from forcegate_trainer.network.potential import Potential

__all__ = ["measure_training"]

_MODEL = "painn_base"
_BATCH = 16
_TURNS = 7
_WANT = 2.5

# Drugs, solvents and building blocks: 15 to 17 atoms on average, as in the training data.
_SMILES = """
CCO CC(=O)O CCN c1ccccc1 Cc1ccccc1 c1ccncc1 c1ccsc1 CC(=O)N CSCC NCC(=O)O C1CCOC1 C1CCCCC1
c1ccc(F)cc1 Clc1ccccc1 Oc1ccccc1 CC(=O)c1ccccc1 CS(C)(=O)=O CCOC(C)=O OCC(O)CO c1ccc2[nH]ccc2c1
NC(=O)c1ccccc1 CC(C)CO COc1ccccc1 C1COCCN1 O=C1CCCN1 FC(F)(F)c1ccccc1 CCCCCCO CC(=O)Nc1ccccc1
NC(C)C(=O)NCC(=O)O CCN(CC)CCO COC(=O)c1ccccc1N CC(C)Cc1ccccc1 O=C(O)c1ccccc1S c1ccc2ncccc2c1
CCCCc1ccccc1 CCOC(=O)c1ccccc1 COc1ccc(CCN)cc1
""".split()  # noqa: SIM905 - a page of quoted strings is harder to read
_FRAMES_PER_MOLECULE = 12
_SHAKE = 0.05  # Å


def _labelled_frames() -> Any:
    """Shaken conformers whose labels are random numbers: they cost what true ones do."""
    rng = np.random.default_rng(0)
    frames = []
    for row, smiles in enumerate(_SMILES):
        mol = hydrogenated(smiles)
        numbers, positions = atomic_numbers(mol), conformers(mol, 1, seed=1)[0]
        for _ in range(_FRAMES_PER_MOLECULE):
            shaken = positions + rng.normal(scale=_SHAKE, size=positions.shape)
            frames.append(Frame(numbers, shaken, row, Source.LANGEVIN, 300.0))
    table = MoleculeTable.closed_shell(_SMILES, _SMILES, _SMILES, [Split.TRAIN] * len(_SMILES))
    bare = from_frames(frames, table)
    forces = rng.normal(size=bare.positions.shape)
    energies, teacher = rng.normal(size=len(bare)), TeacherRecord("random numbers", "0")
    return with_labels(bare, Labels(energies, forces), teacher, bare.flags)


class _Twice(Potential):
    """The same network, its forces by autograd that can be differentiated again."""

    def evaluate(
        self,
        positions: Tensor,
        atomic_numbers: Tensor,
        edge_index: Tensor,
        edge_shift: Tensor,
        structure_index: Tensor,
        n_atoms: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Energies, forces and what else a student gives, of which training reads no more."""
        moving = positions.detach().requires_grad_()
        center, neighbor = edge_index[0], edge_index[1]
        element = self.element_of[atomic_numbers]
        edge_vector = moving[neighbor] - moving[center] + edge_shift
        eager = EagerPotential(self)
        atomic = eager._atomic_energies(edge_vector, element, center, neighbor).double()
        (gradient,) = torch.autograd.grad(atomic.sum(), moving, create_graph=True)
        atomic = atomic + self.reference_energies[element]
        energy = atomic.new_zeros(len(n_atoms)).index_add(0, structure_index, atomic)
        return energy, -gradient, gradient, element, atomic


def _candidates(dataset: Any) -> dict[str, Callable[[int], object]]:
    """By name: a whole training step on the batch of that number."""
    config = FitConfig(
        model=_MODEL,
        architecture=PRESETS[_MODEL],
        datasets=(),
        dataset_hash="",
        epochs=1,
        batch_size=_BATCH,
        compile=False,
    )
    graphs = FrameGraphs.build(dataset, config.architecture.cutoff)
    order = epoch_order(np.arange(len(dataset)), 0, 0)

    def stepping(kind: type[Potential], *, compiled: bool) -> Callable[[int], object]:
        torch.manual_seed(0)
        take_step = TrainingStep(kind(config.architecture), replace(config, compile=compiled))

        def step(number: int) -> object:
            start = number * _BATCH % len(order)
            batch = frame_batch(dataset, graphs, order[start : start + _BATCH])
            return take_step(batch, config.learning_rate, number)

        return step

    return {
        "eager, freed memory kept": stepping(_Twice, compiled=False),
        "written out": stepping(Potential, compiled=False),
        "compiled": stepping(Potential, compiled=True),
    }


class _OrdinaryEager:
    """Plain eager steps in a process that nobody has told how to treat its memory."""

    def __init__(self) -> None:
        plain = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=plain,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, numbers: range) -> float:
        """Seconds that the steps of these numbers take there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{numbers.start} {numbers.stop}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate("")


def _take_orders() -> None:
    """What runs in that process: a range of steps a line in, their seconds out."""
    torch.set_num_threads(1)
    step = _candidates(_labelled_frames())["eager, freed memory kept"]
    for line in sys.stdin:
        start, stop = map(int, line.split())
        print(_time(step, range(start, stop)), flush=True)


def measure_training(seconds: float) -> Findings:
    """Frames per second of each, and how many times faster compiled steps are than eager ones.

    About ``seconds`` are spent on the clock; compiling comes on top. Each rate is the median over
    turns, and so is each ratio over the turns' own. What is asked is against eager steps in a
    process of their own.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_memory()
    dataset = _labelled_frames()
    steps = _candidates(dataset)
    for number in range(len(dataset) // _BATCH):  # all shapes: nothing is compiled on the clock
        steps["compiled"](number)
    ordinary = _OrdinaryEager()
    timers: dict[str, Callable[[range], float]] = {"eager": ordinary}
    timers |= {name: partial(_time, step) for name, step in steps.items()}
    try:
        for timer in timers.values():
            timer(range(2))
        once = sum(timer(range(2)) for timer in timers.values()) / 2
        count = max(2, round(seconds / (_TURNS * once)))
        rates: dict[str, list[float]] = {name: [] for name in timers}
        for turn in range(_TURNS):
            numbers = range(turn * count, (turn + 1) * count)
            for name, timer in timers.items():
                rates[name].append(count * _BATCH / timer(numbers))
    finally:
        ordinary.close()
        torch.set_num_threads(threads)
    ratios = _ratios(rates["compiled"], rates["eager"])
    kept = _ratios(rates["compiled"], rates["eager, freed memory kept"])
    name = "training step: compiled / eager"
    rows = [
        at_least(name, statistics.median(ratios), _WANT),
        plain(f"{name}, least of the turns", min(ratios), "×"),
        plain(f"{name}, greatest of the turns", max(ratios), "×"),
        plain(f"{name} whose freed memory is kept too", statistics.median(kept), "×"),
    ]
    for way, found in rates.items():
        rows.append(plain(f"training, {way}", statistics.median(found), "frames/s"))
    return Findings(rows)


def _ratios(fast: list[float], slow: list[float]) -> list[float]:
    return [a / b for a, b in zip(fast, slow, strict=True)]


def _time(step: Callable[[int], object], numbers: range) -> float:
    # A step waits for nothing: its time on the core, faults of pages included, is all of it, and
    # what others do on that core is left out.
    started = time.process_time()
    for number in numbers:
        step(number)
    return time.process_time() - started


if __name__ == "__main__":
    _take_orders()
