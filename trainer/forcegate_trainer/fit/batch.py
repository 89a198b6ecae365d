"""Frames of a dataset as batches of graphs with targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from forcegate_client.dataset import Dataset
from forcegate_client.structures import segments
from forcegate_trainer.fit.graphs import FrameGraphs

__all__ = [
    "ChargeTargets",
    "FrameBatch",
    "Hints",
    "batches",
    "epoch_order",
    "frame_batch",
    "shares",
]

Int = npt.NDArray[np.int64]


class Hints(NamedTuple):
    """What a mentor says about a batch; None where it was not asked.

    ``atomic_energies`` [N] in eV without reference energies, ``features`` [N, H] in units of their
    spread, ``rows`` [M, 3] of Hessians in eV/Å², of the displaced structures.
    """

    atomic_energies: Tensor | None
    features: Tensor | None
    rows: Tensor | None


class ChargeTargets(NamedTuple):
    """What is known of a batch of B frames with N atoms, M molecules in them, and C complexes.

    ``charges`` [N] in e, NaN where not known; ``molecule`` [N] numbers the molecules of the batch,
    ``net_charge`` [M] in e is what each should sum to; ``complex`` [C] are the frames whose parts
    follow after the B structures, apart from each other, and ``interaction`` [C] in eV what they
    gain by being together; ``counts`` [3]: the atoms with known charges, the molecules and the
    frames that means are over.
    """

    charges: Tensor
    molecule: Tensor
    net_charge: Tensor
    complex: Tensor
    interaction: Tensor
    counts: Tensor


@dataclass(frozen=True)
class FrameBatch:
    """The inputs of a model for some frames, with their labels.

    ``inputs`` are the six tensors that a model takes; ``energies`` [B] in eV, ``forces`` [N, 3]
    in eV/Å, ``whole`` [2] the atoms and the frames of the batch that these are a share of; all
    float64. With ``hints`` about Hessians the inputs end with displaced structures, and ``whole``
    with the number of their atoms. With ``charges`` there are nine tensors, and structures of parts
    apart from each other follow after the B frames.
    """

    inputs: tuple[Tensor, ...]
    energies: Tensor
    forces: Tensor
    whole: Tensor
    hints: Hints | None = None
    charges: ChargeTargets | None = None

    def to(self, device: torch.device) -> FrameBatch:
        """The batch on another device; page-locked memory is copied while others compute."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> FrameBatch:
        """The batch in page-locked memory, from which a GPU takes it by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> FrameBatch:
        hints, charges = self.hints, self.charges
        if hints is not None:
            hints = Hints(*(hint if hint is None else change(hint) for hint in hints))
        if charges is not None:
            charges = ChargeTargets(*map(change, charges))
        return FrameBatch(
            inputs=tuple(map(change, self.inputs)),
            energies=change(self.energies),
            forces=change(self.forces),
            whole=change(self.whole),
            hints=hints,
            charges=charges,
        )


def frame_batch(
    dataset: Dataset, graphs: FrameGraphs, frames: Int, whole: Int | None = None
) -> FrameBatch:
    """Graphs and labels of ``frames`` [B], which are all of a batch or a share of ``whole``.

    ``graphs`` are those of ``dataset``.
    """
    assert dataset.energies is not None  # whoever loads frames for training has checked
    assert dataset.forces is not None
    atoms = segments(dataset.offsets[frames], dataset.n_atoms[frames])
    batch = frames if whole is None else whole
    return FrameBatch(
        inputs=tuple(torch.from_numpy(array) for array in graphs.select(frames).arrays()),
        energies=torch.from_numpy(dataset.energies[frames]),
        forces=torch.from_numpy(dataset.forces[atoms]),
        whole=torch.tensor([int(dataset.n_atoms[batch].sum()), len(batch)], dtype=torch.float64),
    )


def epoch_order(indices: Int, seed: int, epoch: int) -> Int:
    """The frames of one epoch in its own random order, the same whenever it is asked for."""
    return np.random.default_rng((seed, epoch)).permutation(indices)


def shares(frames: Int, n_edges: Int, workers: int) -> list[Int]:
    """``frames`` [B] shared out so that no worker waits long for another.

    ``n_edges`` [B], to which the work is proportional: the largest frame that is left goes to
    the worker with the fewest edges. With as many frames as workers nobody is left without.
    """
    loads = np.zeros(workers, dtype=np.int64)
    owners = np.empty(len(frames), dtype=np.int64)
    for row in np.argsort(-n_edges, kind="stable"):
        owners[row] = loads.argmin()
        loads[owners[row]] += 1 + n_edges[row]
    return [frames[owners == worker] for worker in range(workers)]


def batches(
    dataset: Dataset,
    indices: Int,
    size: int,
    cutoff: float,
    make: Callable[[Dataset, FrameGraphs, Int], FrameBatch] = frame_batch,
) -> Iterator[FrameBatch]:
    """All frames ``indices`` in order, ``size`` at a time; the last batch may be smaller."""
    for start in range(0, len(indices), size):
        part = dataset.select(indices[start : start + size])
        yield make(part, FrameGraphs.build(part, cutoff), np.arange(len(part)))
