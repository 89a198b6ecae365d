"""Neighbours in mostly empty space: a search whose cost does not grow with the volume."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forcegate_service.contract.neighbors.lattice import Copies

__all__ = ["tree_pairs"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]


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
