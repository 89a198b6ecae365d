"""What is looked at before anything is computed: how close atoms are, and how much work they make.

Where the engine's library is missing the edges are listed, counted and thrown away: runtimes that
need a list of them make it for a whole batch.
"""

from __future__ import annotations

import logging
from functools import cache

from forcegate_client.checks.contacts import Contacts
from forcegate_client.local.survey import survey_of
from forcegate_client.structures import StructureBatch
from forcegate_engine.errors import LibraryMissing
from forcegate_engine.library import library
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.contacts import contacts
from forcegate_service.contract.graph import Surveyed, build_graph
from forcegate_service.contract.subgraph import slice_structures

__all__ = ["look_at"]

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
