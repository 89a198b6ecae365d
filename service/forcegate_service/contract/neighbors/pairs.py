"""Pairs of atoms that act on each other beyond a network's cutoff: as Coulomb and dispersion do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from forcegate_client.checks.card import PAIR_CUTOFF
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.neighbors.periodic import search_pairs

__all__ = ["PAIR_CUTOFF", "PairList", "count_open_pairs", "find_pairs"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

# Those of larger molecules would fill the memory that remembering them is to save time with.
_REMEMBERED_ATOMS = 200


@dataclass(frozen=True)
class PairList:
    """``P`` pairs of the atoms of ``B`` structures, each once, sorted by their first atom.

    ``index`` [2, P]; ``shift`` [P, 3] in Å, so that the second lies at
    ``positions[second] - positions[first] + shift`` from the first; ``cutoff`` [B] in Å, where the
    pairs of a structure end, 0 where all are listed. All arrays are contiguous.
    """

    index: Int
    shift: Float
    cutoff: Float

    def __len__(self) -> int:
        return int(self.index.shape[1])

    def per_structure(self, n_atoms: Int) -> Int:
        """How many pairs each structure has, [B]; ``n_atoms`` [B]."""
        ends = np.searchsorted(self.index[0], np.cumsum(n_atoms))
        counts: Int = np.diff(ends, prepend=0)
        return counts

    def cut(self, atoms: slice, structures: slice) -> PairList:
        """Those of consecutive structures, with ``atoms`` of theirs, numbered from 0."""
        first, last = np.searchsorted(self.index[0], [atoms.start, atoms.stop])
        return PairList(
            # The subtraction makes a new array, so the slice of columns becomes contiguous here.
            index=self.index[:, first:last] - atoms.start,
            shift=self.shift[first:last],
            cutoff=self.cutoff[structures],
        )

    def keep(self, atoms: Bool, structures: Bool) -> PairList:
        """Those of the structures with their flag set; ``atoms`` [N] are flags of their atoms."""
        kept = atoms[self.index[0]]
        new_atom = np.cumsum(atoms) - 1
        return PairList(
            # Indexing columns by flags would transpose them in memory.
            index=new_atom.take(self.index.compress(kept, axis=1)),
            shift=self.shift[kept],
            cutoff=self.cutoff[structures],
        )

    @staticmethod
    def joined(lists: Sequence[PairList], first_atoms: Sequence[int]) -> PairList:
        """All of ``lists``, whose atoms begin at ``first_atoms`` of the whole."""
        shifted = [one.index + start for one, start in zip(lists, first_atoms, strict=True)]
        return PairList(
            index=np.concatenate(shifted, axis=1),
            shift=np.concatenate([one.shift for one in lists]),
            cutoff=np.concatenate([one.cutoff for one in lists]),
        )


def find_pairs(structures: StructureBatch, cutoff: float = PAIR_CUTOFF) -> PairList:
    """All pairs of open structures, and those closer than ``cutoff`` Å of periodic ones."""
    periodic = np.asarray(structures.pbc.any(axis=1))
    if not np.count_nonzero(periodic):
        index = _all_pairs(structures.n_atoms)
        return PairList(index, np.zeros((index.shape[1], 3)), np.zeros(len(structures)))
    indices, shifts = [np.empty((2, 0), dtype=np.int64)], [np.empty((0, 3))]
    bounds = structures.offsets.tolist()
    for row, start in enumerate(bounds[:-1]):
        if periodic[row]:
            index, shift = _half(
                *search_pairs(
                    structures.positions[start : bounds[row + 1]],
                    structures.cells[row],
                    structures.pbc[row],
                    cutoff,
                )
            )
        else:
            index = _pairs_of(int(structures.n_atoms[row]))
            shift = np.zeros((index.shape[1], 3))
        indices.append(index + start)
        shifts.append(shift)
    return PairList(
        np.concatenate(indices, axis=1),
        np.concatenate(shifts),
        np.where(periodic, float(cutoff), 0.0),
    )


def count_open_pairs(structures: StructureBatch) -> int:
    """How many pairs the open structures have together."""
    atoms = structures.n_atoms[~structures.pbc.any(axis=1)]
    return int((atoms * (atoms - 1) // 2).sum())


def _all_pairs(n_atoms: Int) -> Int:
    sizes = n_atoms.tolist()
    if len(sizes) == 1:
        return _pairs_of(sizes[0])
    starts = (np.cumsum(n_atoms) - n_atoms).tolist()
    parts = [_pairs_of(size) + start for size, start in zip(sizes, starts, strict=True)]
    return np.concatenate([np.empty((2, 0), dtype=np.int64), *parts], axis=1)


def _pairs_of(size: int) -> Int:
    return _remembered(size) if size <= _REMEMBERED_ATOMS else _triangle(size)


def _triangle(size: int) -> Int:
    return np.stack(np.triu_indices(size, 1)).astype(np.int64)


@lru_cache(maxsize=_REMEMBERED_ATOMS + 1)
def _remembered(size: int) -> Int:
    pairs = _triangle(size)
    # Shared by all who ask.
    pairs.setflags(write=False)
    return pairs


def _half(center: Int, neighbor: Int, shift: Float) -> tuple[Int, Float]:
    """Each edge in one of its two directions; of an atom and its image the one to the front."""
    x, y, z = shift.T
    ahead = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
    kept = (center < neighbor) | ((center == neighbor) & ahead)
    return np.stack([center[kept], neighbor[kept]]), shift[kept]
