"""Neighbours among few atoms: the distance of every pair, with no search before it.

Squared distances are summed in the same order in all functions here, so a molecule has the same
neighbours alone and in a batch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forcegate_service.contract.neighbors.lattice import Copies

__all__ = ["copy_pairs", "open_pairs"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

# Pairs looked at together: they bound the memory, and their distances stay in the cache.
_BLOCK_PAIRS = 16_384


def open_pairs(positions: Float, n_atoms: Int, cutoff: float) -> Int:
    """[2, E]; centers and neighbors of all pairs of open structures closer than ``cutoff`` Å.

    ``positions`` [N, 3] in Å, ``n_atoms`` [B]. Sorted by center, then neighbor.
    """
    if len(n_atoms) == 1:
        return _pairs_of_one(positions, cutoff)
    edges = [np.zeros((2, 0), dtype=np.int64)]
    done = atom = 0
    ends = np.flatnonzero(np.diff(np.cumsum(n_atoms**2) // _BLOCK_PAIRS)) + 1
    for end in [*ends.tolist(), len(n_atoms)]:
        counts = n_atoms[done:end]
        stop = atom + int(counts.sum())
        block = positions[atom:stop]
        if end == done + 1:
            found = _pairs_of_one(block, cutoff)
        else:
            found = _pairs_of_many(block, counts, cutoff)
        found += atom
        edges.append(found)
        done, atom = end, stop
    return np.concatenate(edges, axis=1)


def copy_pairs(positions: Float, copies: Copies, cutoff: float) -> tuple[Int, Int]:
    """Centers [E] and copies [E] of all pairs of an atom and a copy closer than ``cutoff`` Å.

    ``positions`` [N, 3] in Å. Sorted by center, then copy; an atom is no neighbor of itself.
    """
    center, copy = _rectangle(positions, copies.positions, copies.self_copy, cutoff)
    return center, copy


def _pairs_of_one(positions: Float, cutoff: float) -> Int:
    return _rectangle(positions, positions, None, cutoff)


def _rectangle(rows: Float, columns: Float, self_column: Int | None, cutoff: float) -> Int:
    """[2, E]; row and column of all points closer than ``cutoff``, a point and itself excepted.

    ``self_column`` [n] is the column that is the same point as a row, if not the one of its number.
    """
    points, others = np.ascontiguousarray(rows.T), np.ascontiguousarray(columns.T)
    width = len(columns)
    height = max(1, _BLOCK_PAIRS // max(1, width))
    parts = []
    for start in range(0, max(1, len(rows)), height):
        difference = points[:, start : start + height, None] - others[:, None, :]
        difference *= difference
        squared = difference[0]
        squared += difference[1]
        squared += difference[2]
        within = squared < cutoff * cutoff
        if self_column is None:
            within.reshape(-1)[start :: width + 1] = False
        else:
            within[np.arange(len(within)), self_column[start : start + height]] = False
        pairs = within.reshape(-1).nonzero()[0]
        part = np.empty((2, len(pairs)), dtype=np.int64)
        np.floor_divide(pairs, width, out=part[0])
        np.subtract(pairs, part[0] * width, out=part[1])
        part[0] += start
        parts.append(part)
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _pairs_of_many(positions: Float, n_atoms: Int, cutoff: float) -> Int:
    """All ordered pairs of each structure lie one after the other: no padding, whatever sizes."""
    n_neighbors = np.repeat(n_atoms, n_atoms)
    first_atom = np.repeat(np.cumsum(n_atoms) - n_atoms, n_atoms)
    first_pair = np.cumsum(n_neighbors) - n_neighbors
    atoms = np.arange(len(positions))
    neighbor = np.arange(int(n_neighbors.sum()))
    neighbor += np.repeat(first_atom - first_pair, n_neighbors)
    squared = np.zeros(len(neighbor))
    for coordinate in np.ascontiguousarray(positions.T):
        difference = np.repeat(coordinate, n_neighbors)
        difference -= coordinate.take(neighbor)
        difference *= difference
        squared += difference
    within = squared < cutoff * cutoff
    within[first_pair + atoms - first_atom] = False
    pairs = within.nonzero()[0]
    edge_index = np.empty((2, len(pairs)), dtype=np.int64)
    neighbor.take(pairs, out=edge_index[1], mode="clip")
    np.repeat(atoms, n_neighbors).take(pairs, out=edge_index[0], mode="clip")
    return edge_index
