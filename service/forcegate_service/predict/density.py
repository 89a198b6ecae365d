"""Keep hopelessly dense structures away from the neighbour search.

A search over atoms that sit on top of each other makes as many pairs as there are atoms squared.
These bounds need no pairs: they sort atoms into boxes.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import StructureBatch

__all__ = ["crowded", "estimate_edges"]

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]


def crowded(batch: StructureBatch, minimum_distance: float) -> Bool:
    """[B]; structures with two atoms in one box whose diagonal is ``minimum_distance`` (Å).

    Such atoms are certainly too close; a structure that passes may still have a closer pair.
    """
    counts, owners = _boxes(batch, minimum_distance)
    result = np.zeros(len(batch), dtype=np.bool_)
    result[owners[counts > 1]] = True
    # Spheres of that diameter must fit into the cell, images and all.
    volume = np.abs(np.linalg.det(batch.cells))
    spheres = batch.n_atoms * (np.pi / 6.0) * minimum_distance**3
    result |= batch.pbc.all(axis=1) & (spheres > volume)
    return result


def estimate_edges(batch: StructureBatch, cutoff: float) -> float:
    """About how many directed edges within ``cutoff`` (Å) all structures have together."""
    box_volume = (cutoff / np.sqrt(3.0)) ** 3
    sphere_volume = 4.0 / 3.0 * np.pi * cutoff**3
    counts, _ = _boxes(batch, cutoff)
    within = float((counts.astype(np.float64) ** 2).sum()) * sphere_volume / box_volume
    bulk = batch.pbc.all(axis=1)
    density = batch.n_atoms[bulk] / np.abs(np.linalg.det(batch.cells[bulk]))
    between = float((batch.n_atoms[bulk] * density).sum()) * sphere_volume
    return float(max(within, between))


def _boxes(
    batch: StructureBatch, diagonal: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """How many atoms each occupied box holds, and the structure it belongs to."""
    owner = batch.structure_index
    box = np.floor(batch.positions * (np.sqrt(3.0) / diagonal)).astype(np.int64)
    box -= box.min(axis=0, initial=0)
    columns = (owner, *box.T)
    sizes = [int(column.max(initial=0)) + 1 for column in columns]
    if math.prod(sizes) < 2**62:
        # One number for each box sorts far faster than four.
        key = np.ravel_multi_index(columns, sizes)
        _, first, counts = np.unique(key, return_index=True, return_counts=True)
    else:
        rows = np.column_stack(columns)
        _, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
    return counts, owner[first]
