"""How large a graph is: what the cost and the memory of its evaluation grow with."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from forcegate_service.graph import Graph
from forcegate_service.subgraph import edges_per_structure

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


def size_of(graph: Graph) -> GraphSize[float]:
    """The size of all of ``graph``."""
    return GraphSize(len(graph.atomic_numbers), graph.n_edges, graph.n_pairs or 0)


def sizes_of(graph: Graph) -> GraphSize[Float]:
    """The size of each of its structures."""
    pairs = graph.pairs
    return GraphSize(
        graph.n_atoms.astype(np.float64),
        edges_per_structure(graph).astype(np.float64),
        np.zeros(len(graph.n_atoms))
        if pairs is None
        else pairs.per_structure(graph.n_atoms).astype(np.float64),
    )
