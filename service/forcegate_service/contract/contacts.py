"""The atoms of a graph that are closer than their elements allow, or bound to no other."""

from __future__ import annotations

import numpy as np

from forcegate_client.checks.contacts import Contacts, ShortestDistances
from forcegate_service.contract.graph import Graph, edge_vectors

__all__ = ["contacts"]


def contacts(graph: Graph, shortest: ShortestDistances) -> Contacts:
    """The structures of ``graph`` with atoms that are too close, and those remarked on."""
    vectors = edge_vectors(graph)
    vectors *= vectors
    # No matrix product: for so many rows it would wake threads that inference needs.
    squared = vectors[:, 0] + vectors[:, 1]
    squared += vectors[:, 2]
    numbers = graph.atomic_numbers
    table = shortest.remarkable
    ratios = np.sqrt(squared) / table[numbers[graph.edge_index[0]], numbers[graph.edge_index[1]]]
    isolation = np.full(len(numbers), np.inf)
    np.minimum.at(isolation, graph.edge_index[0], ratios)
    alone = shortest.alone(numbers, graph.n_atoms, isolation)
    (near,) = (squared < shortest.farthest**2).nonzero()
    ends = graph.edge_index.take(near, axis=1)
    found = shortest.judged(
        numbers.take(ends), np.sqrt(squared.take(near)), graph.structure_index.take(ends[0])
    )
    return Contacts(found.refused, alone | found.remarked)
