"""How large structures are: what the cost and the memory of their evaluation grow with."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from forcegate_service.contract.graph import Structures

__all__ = ["Float", "GraphSize", "Number", "size_of", "sizes_of"]

Float = npt.NDArray[np.float64]
Number = TypeVar("Number", float, Float)


class GraphSize(NamedTuple, Generic[Number]):
    """Atoms, directed edges, and pairs beyond them, 0 for a model of interface 1.

    Numbers, or arrays [B] with one for each structure.
    """

    atoms: Number
    edges: Number
    pairs: Number


def size_of(structures: Structures) -> GraphSize[float]:
    """The size of all of them."""
    return GraphSize(len(structures.atomic_numbers), structures.n_edges, structures.n_pairs)


def sizes_of(structures: Structures) -> GraphSize[Float]:
    """The size of each of them."""
    edges, pairs = structures.counts()
    return GraphSize(
        structures.n_atoms.astype(np.float64), edges.astype(np.float64), pairs.astype(np.float64)
    )
