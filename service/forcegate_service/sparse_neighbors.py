"""Neighbours in mostly empty space: a search whose cost does not grow with the volume."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

__all__ = ["tree_pairs"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]


def tree_pairs(
    positions: Float, cell: Float, pbc: npt.NDArray[np.bool_], cutoff: float
) -> tuple[Int, Int, Int]:
    """Centers [E], neighbors [E] and cell shifts [E, 3] of all pairs within ``cutoff`` Å.

    ``positions`` [N, 3] and ``cell`` [3, 3] in Å; the cell is regular unless no axis is periodic.
    In no particular order.
    """
    n_atoms = len(positions)
    cell = cell if pbc.any() else np.eye(3)
    inverse = np.linalg.inv(cell)
    home = np.where(pbc, np.floor(positions @ inverse), 0.0)
    wrapped = positions - home @ cell
    reach = np.where(pbc, np.ceil(cutoff * np.linalg.norm(inverse, axis=0)), 0.0)
    steps = [np.arange(-count, count + 1.0) for count in reach]
    images = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    copies = (wrapped[None, :, :] + (images @ cell)[:, None, :]).reshape(-1, 3)
    pairs = cKDTree(wrapped).sparse_distance_matrix(cKDTree(copies), cutoff, output_type="ndarray")
    center, copy = pairs["i"], pairs["j"]
    neighbor, image = copy % n_atoms, images[copy // n_atoms]
    different = (center != neighbor) | image.any(axis=1)
    center, neighbor = center[different], neighbor[different]
    shift = image[different] - home[neighbor] + home[center]
    return center, neighbor, shift.astype(np.int64)
