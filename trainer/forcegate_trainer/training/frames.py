"""Frames of a dataset as batches of graphs with targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from forcegate_client.dataset import Dataset
from forcegate_client.structures import StructureBatch
from forcegate_service.graph import build_graph

__all__ = ["FrameBatch", "batches", "epoch_order", "frame_batch", "structures_of"]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FrameBatch:
    """The inputs of a model for some frames, with their labels.

    ``inputs`` are the six tensors that a model takes; ``energies`` [B] in eV, ``forces`` [N, 3]
    in eV/Å, float64.
    """

    inputs: tuple[Tensor, ...]
    energies: Tensor
    forces: Tensor


def structures_of(dataset: Dataset) -> StructureBatch:
    """The structures of all frames."""
    return StructureBatch.from_arrays(
        n_atoms=dataset.n_atoms,
        atomic_numbers=dataset.atomic_numbers,
        positions=dataset.positions,
        cells=dataset.cells,
        pbc=dataset.pbc,
    )


def frame_batch(
    dataset: Dataset, structures: StructureBatch, indices: Int, cutoff: float
) -> FrameBatch:
    """Graphs and labels of frames ``indices`` [B]."""
    assert dataset.energies is not None  # whoever loads frames for training has checked
    assert dataset.forces is not None
    graph = build_graph(structures.select(indices), cutoff)
    forces = np.concatenate([dataset.forces[dataset.atoms_of(int(f))] for f in indices])
    return FrameBatch(
        inputs=tuple(torch.from_numpy(array) for array in graph.arrays()),
        energies=torch.from_numpy(dataset.energies[indices]),
        forces=torch.from_numpy(forces),
    )


def epoch_order(indices: Int, seed: int, epoch: int) -> Int:
    """The frames of one epoch in its own random order, the same whenever it is asked for."""
    return np.random.default_rng((seed, epoch)).permutation(indices)


def batches(dataset: Dataset, indices: Int, size: int, cutoff: float) -> Iterator[FrameBatch]:
    """All frames ``indices`` in order, ``size`` at a time; the last batch may be smaller."""
    structures = structures_of(dataset)
    for start in range(0, len(indices), size):
        yield frame_batch(dataset, structures, indices[start : start + size], cutoff)
