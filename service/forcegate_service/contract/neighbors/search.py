"""Neighbours in one structure that is large or periodic, by the cheapest way that can do it."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from forcegate_service.contract.neighbors.cell_list import cell_list_pairs
from forcegate_service.contract.neighbors.dense import copy_pairs
from forcegate_service.contract.neighbors.lattice import (
    complete_cell,
    copies_within,
    inverse_heights,
    wrap,
)
from forcegate_service.contract.neighbors.sparse import tree_pairs

__all__ = ["search_pairs"]

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
