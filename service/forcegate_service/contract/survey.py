"""What is looked at before anything is computed: how close atoms are, and how much work they make.

Where the engine's library is missing the edges are listed, counted and thrown away: runtimes that
need a list of them make it for a whole batch.
"""

from __future__ import annotations

import logging
from functools import cache

import numpy as np

from forcegate_client.checks.contacts import Contacts, ShortestDistances
from forcegate_client.local.survey import survey_of
from forcegate_client.structures import StructureBatch
from forcegate_engine.errors import LibraryMissing
from forcegate_engine.library import library
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.graph import Graph, build_graph, edge_vectors
from forcegate_service.contract.structures import Surveyed, slice_structures

__all__ = ["contacts", "look_at"]

logger = logging.getLogger(__name__)


def look_at(batch: StructureBatch, card: ModelCard) -> tuple[Surveyed, Contacts]:
    """``batch`` for the model of ``card``, and what of it is too close, or remarked on.

    Raises:
        InvalidStructure: for one that has more neighbours or images than can be looked at;
            ``structure`` is its index.
    """
    if not _engine_is_here():
        graph = build_graph(batch, *card.reach)
        near = contacts(graph, card.shortest_distances)
        return slice_structures(graph, 0, len(batch)), near
    cutoff, pair_cutoff = card.reach
    found, close = survey_of(batch, card.shortest_distances, cutoff, pair_cutoff or 0.0)
    surveyed = Surveyed(
        positions=batch.positions,
        atomic_numbers=batch.atomic_numbers,
        n_atoms=batch.n_atoms,
        cells=batch.cells,
        pbc=batch.pbc,
        edge_counts=found.edges,
        pair_counts=found.pairs,
        distances=found.nearest,
    )
    return surveyed, close


@cache
def _engine_is_here() -> bool:
    try:
        library()
    except LibraryMissing as error:
        logger.warning("neighbours are listed without the engine: %s", error)
        return False
    return True


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
