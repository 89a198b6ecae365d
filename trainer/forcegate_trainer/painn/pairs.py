"""What a charged potential takes: edges for its network, and pairs for what acts farther."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import StructureBatch
from forcegate_service.graph import Graph, build_graph

__all__ = ["PAIR_CUTOFF", "all_pairs", "charged_arrays"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Arrays = tuple[npt.NDArray[np.generic], ...]

# Å; where pairs of periodic structures end.
PAIR_CUTOFF = 12.0


def charged_arrays(structures: StructureBatch, cutoff: float) -> Arrays:
    """The nine inputs of a charged potential whose network has this ``cutoff`` in Å.

    Open structures list all their pairs, periodic ones those within ``PAIR_CUTOFF``.
    """
    graph = build_graph(structures, cutoff)
    periodic = np.asarray(structures.pbc.any(axis=1))
    if not periodic.any():
        pairs = all_pairs(structures)
        shift = np.zeros((pairs.shape[1], 3))
    else:
        pairs, shift = _mixed_pairs(structures, periodic)
    return (*graph.arrays(), pairs, shift, np.where(periodic, PAIR_CUTOFF, 0.0))


def all_pairs(structures: StructureBatch) -> Int:
    """Each pair of atoms of a structure once: i64 [2, P], first before second."""
    parts = [
        _pairs(int(n)) + start
        for n, start in zip(structures.n_atoms, structures.offsets[:-1], strict=True)
    ]
    return np.concatenate([np.empty((2, 0), dtype=np.int64), *parts], axis=1)


def _mixed_pairs(structures: StructureBatch, periodic: npt.NDArray[np.bool_]) -> tuple[Int, Float]:
    offsets = structures.offsets
    pairs, shifts = [], []
    for row, start in enumerate(offsets[:-1].tolist()):
        one = structures.select([row])
        if periodic[row]:
            found, shift = _half(build_graph(one, PAIR_CUTOFF))
        else:
            found = all_pairs(one)
            shift = np.zeros((found.shape[1], 3))
        pairs.append(found + start)
        shifts.append(shift)
    return np.concatenate(pairs, axis=1), np.concatenate(shifts)


def _half(graph: Graph) -> tuple[Int, Float]:
    """Each edge in one of its two directions; of an atom and its image the one to the front."""
    center, neighbor = graph.edge_index
    x, y, z = graph.edge_shift.T
    ahead = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
    kept = (center < neighbor) | ((center == neighbor) & ahead)
    return np.ascontiguousarray(graph.edge_index[:, kept]), graph.edge_shift[kept]


@lru_cache(maxsize=512)
def _pairs(n: int) -> Int:
    return np.stack(np.triu_indices(n, 1)).astype(np.int64)
