"""Pairs of geometries, a small step ahead and behind along one coordinate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from forcegate_service.graph import Graph

__all__ = ["STEP", "displaced"]

# Å. Forces in float32 are good to some 1e-6 of their size, so a row of a Hessian to about
# 1e-4 eV/Å² of a few tens; the bonds' anharmonicity, which is the same for both, to about as much.
STEP = 0.01


def displaced(graph: Graph, moved: npt.NDArray[np.int64]) -> Graph:
    """The last 2 K structures of ``graph``, K of them twice, moved by +STEP and by −STEP.

    ``moved`` [K, 2] are the coordinates, (atom within its structure, axis). The edges stay as they
    are: a pair that the step takes across the cutoff has an envelope below 1e-7 there.
    """
    starts = np.cumsum(graph.n_atoms) - graph.n_atoms
    ahead, behind = np.split(starts[len(starts) - 2 * len(moved) :], 2)
    positions = graph.positions.copy()
    atom, axis = moved[:, 0], moved[:, 1]
    positions[ahead + atom, axis] += STEP
    positions[behind + atom, axis] -= STEP
    return replace(graph, positions=positions)
