"""What a mentor is asked about frames, a few at a time, written to files that can be mapped.

Hessian rows are central differences of forces, (F(R − h e) − F(R + h e)) / 2h. The student's are
taken at the same two geometries, so what the difference leaves out is the same on both sides.
Some rows stand for the whole Hessian (arXiv:2501.09009).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.format import open_memmap

from forcegate_client.dataset import Dataset
from forcegate_client.structures import segments
from forcegate_service.contract.graph import Graph
from forcegate_service.contract.runtime import Runtime
from forcegate_trainer.fit.graphs import FrameGraphs
from forcegate_trainer.network.potential import Potential, last_layer
from forcegate_trainer.progress import Tell

__all__ = ["STEP", "ask_about_atoms", "ask_for_rows", "displaced"]

Int = npt.NDArray[np.int64]

# Å. Forces in float32 are good to some 1e-6 of their size, so a row of a Hessian to about
# 1e-4 eV/Å² of a few tens; the bonds' anharmonicity, which is the same for both, to about as much.
STEP = 0.01

# As many frames as still fit into a processor's caches.
_BATCH = 8
_LARGEST_HALF = float(np.finfo(np.float16).max)
# Tells this use of a run's seed from others.
_DRAW = 1


def displaced(graph: Graph, moved: npt.NDArray[np.int64]) -> Graph:
    """The last 2 K structures of ``graph``, K of them twice, moved by +STEP and by −STEP.

    ``moved`` [K, 2] are the coordinates, (atom within its structure, axis). The edges stay as they
    are: a pair that the step takes across the cutoff has an envelope below 1e-7 there.
    """
    starts = np.cumsum(graph.n_atoms) - graph.n_atoms
    ahead, behind = np.split(starts[len(starts) - 2 * len(moved) :], 2)
    positions = graph.positions.copy()
    atom, axis = moved[:, 0], moved[:, 1]
    positions[ahead + atom, axis] += STEP
    positions[behind + atom, axis] -= STEP
    return replace(graph, positions=positions)


@torch.inference_mode()
def ask_about_atoms(
    mentor: Potential, data: Dataset, graphs: FrameGraphs, folder: Path, tell: Tell
) -> None:
    """Write atomic energies, features, and the features' mean and spread, for N atoms."""
    last = last_layer(mentor)
    n_atoms, width = len(data.positions), last.in_features
    energies = open_memmap(folder / "atomic_energies.npy", "w+", np.float64, (n_atoms,))
    features = open_memmap(folder / "features.npy", "w+", np.float16, (n_atoms, width))
    total, squares = np.zeros(width), np.zeros(width)
    for frames, atoms in _chunks(data, "the mentor's energies and features", tell):
        inputs = map(torch.from_numpy, graphs.select(frames).arrays())
        _, _, _, element, found = mentor.evaluate(*inputs)
        atomic = last(found).squeeze(1).double()
        energies[atoms] = (atomic + mentor.reference_energies.index_select(0, element)).numpy()
        wide = found.double().numpy()
        features[atoms] = np.clip(wide, -_LARGEST_HALF, _LARGEST_HALF)
        total += wide.sum(0)
        squares += (wide**2).sum(0)
    mean = total / n_atoms
    variance = np.maximum(squares / n_atoms - mean**2, 0.0)
    np.save(folder / "mean.npy", mean)
    # A feature that hardly varies has nothing to teach, and must not divide by zero.
    np.save(folder / "spread.npy", np.sqrt(variance + 1e-6 * variance.mean() + 1e-12))
    energies.flush()
    features.flush()


def ask_for_rows(
    mentor: Runtime,
    data: Dataset,
    graphs: FrameGraphs,
    folder: Path,
    count: int,
    seed: int,
    tell: Tell,
) -> None:
    """Write ``count`` rows of the Hessian of each frame, of coordinates drawn at random."""
    rng = np.random.default_rng((seed, _DRAW))
    shape = (count, len(data))
    moved = np.stack([rng.integers(0, data.n_atoms, shape), rng.integers(0, 3, shape)], axis=-1)
    np.save(folder / "moved.npy", moved)
    rows = open_memmap(folder / "rows.npy", "w+", np.float32, (count, len(data.positions), 3))
    for row in range(count):
        title = f"the mentor's Hessians, row {row + 1}"
        for frames, atoms in _chunks(data, title, tell):
            graph = displaced(graphs.select(np.tile(frames, 2)), moved[row, frames])
            ahead, behind = np.split(mentor.evaluate(graph).forces, 2)
            rows[row, atoms] = (behind - ahead) / (2 * STEP)
    rows.flush()


def _chunks(data: Dataset, title: str, tell: Tell) -> Iterator[tuple[Int, Int]]:
    """Some frames, and where their atoms are, until there are none left."""
    for start in range(0, len(data), _BATCH):
        frames = np.arange(start, min(start + _BATCH, len(data)))
        yield frames, segments(data.offsets[frames], data.n_atoms[frames])
        tell(title, int(frames[-1]) + 1, len(data))
