"""What is looked at before anything is computed: how close atoms are, and how much work they make.

The engine does this in one pass, and lists nothing. Where its library is missing the edges are
listed, counted and thrown away: runtimes that need a list of them make it for a whole batch.
"""

from __future__ import annotations

import logging
from functools import cache

from forcegate_client.checks.contacts import Contacts
from forcegate_client.errors import InvalidStructure
from forcegate_client.structures import StructureBatch
from forcegate_engine import EngineError, Survey, survey
from forcegate_engine.errors import BadStructure, LibraryMissing
from forcegate_engine.library import library
from forcegate_service.card import ModelCard
from forcegate_service.contacts import contacts
from forcegate_service.graph import Surveyed, build_graph
from forcegate_service.subgraph import slice_structures

__all__ = ["look_at"]

logger = logging.getLogger(__name__)


def look_at(batch: StructureBatch, card: ModelCard) -> tuple[Surveyed, Contacts]:
    """``batch`` for the model of ``card``, and what of it is too close, or remarkably close.

    Raises:
        InvalidStructure: for one that has more neighbours or images than can be looked at;
            ``structure`` is its index.
    """
    if not _engine_is_here():
        graph = build_graph(batch, *card.reach)
        near = contacts(graph, card.shortest_distances)
        return slice_structures(graph, 0, len(batch)), near
    cutoff, pair_cutoff = card.reach
    try:
        found = survey(
            batch.atomic_numbers,
            batch.positions,
            cutoff=cutoff,
            shortest=card.shortest_distances.remarkable,
            pair_cutoff=pair_cutoff or 0.0,
            n_atoms=batch.n_atoms,
            cells=batch.cells,
            pbc=batch.pbc,
        )
    except EngineError as error:
        raise _refused(error) from error
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
    return surveyed, _contacts(batch, card, found)


def _contacts(batch: StructureBatch, card: ModelCard, found: Survey) -> Contacts:
    # The table was that of remarkable distances.
    (close,) = (found.closeness < 1.0).nonzero()
    if not len(close):
        return Contacts({}, {})
    atoms = batch.offsets[close] + found.closest[close].T
    numbers = batch.atomic_numbers.take(atoms)
    return card.shortest_distances.judged(numbers, found.distance[close], close)


def _refused(error: EngineError) -> InvalidStructure:
    flat = isinstance(error, BadStructure)
    return InvalidStructure(
        str(error),
        expected="a cell with a volume" if flat else "atoms that keep their distance",
        action="check the cell, and the unit of the positions",
        code="cell_singular" if flat else "atoms_too_close",
        structure=error.structure,
    )


@cache
def _engine_is_here() -> bool:
    try:
        library()
    except LibraryMissing as error:
        logger.warning("neighbours are listed without the engine: %s", error)
        return False
    return True
