"""Neighbours in one structure that is large or periodic, by the cheapest way that can do it."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from forcegate_service.contract.neighbors.dense import copy_pairs
from forcegate_service.contract.neighbors.lattice import (
    Copies,
    complete_cell,
    copies_within,
    grid,
    inverse_heights,
    lattice_vectors,
    wrap,
)

__all__ = ["cell_list_pairs", "search_pairs", "tree_pairs"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

# Up to about so many pairs of an atom and a copy, looking at all of them is cheaper than a search.
_DENSE_PAIRS = 100_000
# Above 100,000 boxes vesin makes them larger, and in elongated structures divides by zero, which
# ends the process. A tree, slower but indifferent to empty space, takes over well before.
_CELL_LIST_BOXES = 50_000


def search_pairs(positions: Float, cell: Float, pbc: Bool, cutoff: float) -> tuple[Int, Int, Float]:
    """Centers [E], neighbors [E] and shifts [E, 3] (Å) of all pairs closer than ``cutoff`` Å.

    ``positions`` [N, 3] and ``cell`` [3, 3] in Å. Sorted by center, neighbor and image.
    """
    if pbc.any():
        return _periodic(positions, complete_cell(cell, pbc, positions, cutoff), pbc, cutoff)
    if _boxes(np.ptp(positions, axis=0), cutoff) < _CELL_LIST_BOXES:
        return cell_list_pairs(positions, np.zeros((3, 3)), pbc, cutoff)
    copies = copies_within(positions, np.eye(3), np.eye(3), pbc, cutoff)
    center, copy = tree_pairs(positions, copies, cutoff)
    return center, copies.atom[copy], copies.shift[copy]


def _periodic(positions: Float, cell: Float, pbc: Bool, cutoff: float) -> tuple[Int, Int, Float]:
    inverse = cast(Float, np.linalg.inv(cell))
    heights = 1.0 / inverse_heights(inverse)
    # Atoms of unwrapped trajectories come back first, which bounds the images there can be.
    wrapped, away = wrap(positions, cell, inverse, pbc)
    near = np.where(pbc, 1.0 + 2.0 * cutoff / heights, 1.0)
    dense = len(positions) ** 2 * near.prod() < _DENSE_PAIRS
    if not dense and _boxes(heights, cutoff) < _CELL_LIST_BOXES:
        center, neighbor, shift = cell_list_pairs(wrapped, cell, pbc, cutoff)
    else:
        copies = copies_within(wrapped, cell, inverse, pbc, cutoff)
        center, copy = (copy_pairs if dense else tree_pairs)(wrapped, copies, cutoff)
        neighbor, shift = copies.atom[copy], copies.shift.take(copy, axis=0)
    if away.any():
        # In this order both directions of an edge are rounded alike.
        apart = away.take(center, axis=0)
        apart -= away.take(neighbor, axis=0)
        shift += apart
    return center, neighbor, shift


def _boxes(heights: Float, cutoff: float) -> float:
    """About how many boxes as wide as the cutoff a cell list divides the structure into."""
    return float((heights / cutoff + 1.0).prod())


def cell_list_pairs(
    positions: Float, cell: Float, pbc: Bool, cutoff: float
) -> tuple[Int, Int, Float]:
    """Centers [E], neighbors [E] and shifts [E, 3] (Å) of all pairs closer than ``cutoff`` Å.

    ``positions`` [N, 3] and ``cell`` [3, 3] in Å. Sorted by center, neighbor and image.

    Each edge is packed into one integer, center first: sorting integers is some twenty times
    cheaper than finding the order of three columns and applying it to them.
    """
    # Imported here because vesin imports torch where there is one, which takes seconds.
    from vesin import NeighborList

    lists = NeighborList(cutoff=cutoff, full_list=False, n_threads=1)
    pairs, images = lists.compute(positions, cell, pbc, "PS", copy=False)
    counts = np.array([np.abs(column).max(initial=0) for column in images.T], dtype=np.int64)
    shift = lattice_vectors(grid(counts), cell)
    # Images are numbered as in the grid, from its middle, so that opposite ones are negatives.
    along_a, along_b, along_c = images.T.astype(np.int64)
    image = (along_a * (2 * counts[1] + 1) + along_b) * (2 * counts[2] + 1) + along_c
    middle = len(shift) // 2
    image_bits, atom_bits = len(shift).bit_length(), len(positions).bit_length()
    assert image_bits + 2 * atom_bits < 64
    first, second = pairs.T.astype(np.int64)
    both = np.empty((2, len(pairs)), dtype=np.int64)
    # vesin gives one of the two directions.
    for row, (center, neighbor, number) in zip(
        both, ((first, second, image), (second, first, -image)), strict=True
    ):
        np.left_shift(center, atom_bits, out=row)
        row |= neighbor
        row <<= image_bits
        row += number + middle
    edges = both.reshape(-1)
    edges.sort()
    number = edges & ((1 << image_bits) - 1)
    edges >>= image_bits
    return edges >> atom_bits, edges & ((1 << atom_bits) - 1), shift.take(number, axis=0)


def tree_pairs(positions: Float, copies: Copies, cutoff: float) -> tuple[Int, Int]:
    """Centers [E] and copies [E] of all pairs of an atom and a copy closer than ``cutoff`` Å.

    ``positions`` [N, 3] in Å. Sorted by center, then copy; an atom is no neighbor of itself.
    """
    # Imported here because it takes tens of megabytes, and the engine needs no list of neighbours.
    from scipy.spatial import cKDTree

    found = cKDTree(positions).sparse_distance_matrix(
        cKDTree(copies.positions), cutoff, output_type="ndarray"
    )
    center, copy = found["i"], found["j"]
    different = (copies.self_copy[center] != copy) & (found["v"] < cutoff)
    center, copy = center[different], copy[different]
    order = np.lexsort((copy, center))
    return center[order], copy[order]
