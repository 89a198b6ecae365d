"""What is looked at before anything is computed: how close atoms are, and how much work they make.

The engine does this in one pass, and lists nothing. A gateway looks as a student in one's own
process does.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from forcegate_client.checks.contacts import Contacts, ShortestDistances
from forcegate_client.errors import InvalidStructure
from forcegate_client.structures import StructureBatch

if TYPE_CHECKING:
    from forcegate_engine import EngineError, Survey

__all__ = ["survey_of"]


def survey_of(
    batch: StructureBatch, shortest: ShortestDistances, cutoff: float, pair_cutoff: float = 0.0
) -> tuple[Survey, Contacts]:
    """The engine's survey of ``batch``, and what of it is too close, or remarked on.

    ``cutoff`` and ``pair_cutoff`` in Å, as ``forcegate_engine.survey`` takes them.

    Raises:
        InvalidStructure: for one that has more neighbours or images than can be looked at;
            ``structure`` is its index.
        LibraryMissing: if the engine is not compiled for this machine.
    """
    engine = _engine()
    try:
        found = engine.survey(
            batch.atomic_numbers,
            batch.positions,
            cutoff=cutoff,
            shortest=shortest.remarkable,
            pair_cutoff=pair_cutoff,
            n_atoms=batch.n_atoms,
            cells=batch.cells,
            pbc=batch.pbc,
        )
    except engine.errors.LibraryMissing:
        raise
    except engine.EngineError as error:
        raise _refused(error) from error
    # The table was that of remarkable distances.
    alone = shortest.alone(batch.atomic_numbers, batch.n_atoms, found.isolation)
    (close,) = (found.closeness < 1.0).nonzero()
    if not len(close):
        return found, Contacts({}, dict(alone))
    atoms = batch.offsets[close] + found.closest[close].T
    numbers = batch.atomic_numbers.take(atoms)
    near = shortest.judged(numbers, found.distance[close], close)
    return found, Contacts(near.refused, alone | near.remarked)


@cache
def _engine() -> ModuleType:
    """The engine, which is not everywhere; looked up once, because a step asks each time."""
    import forcegate_engine

    return forcegate_engine


def _refused(error: EngineError) -> InvalidStructure:
    flat = isinstance(error, _engine().errors.BadStructure)
    return InvalidStructure(
        str(error),
        expected="a cell with a volume" if flat else "atoms that keep their distance",
        action="check the cell, and the unit of the positions",
        code="cell_singular" if flat else "atoms_too_close",
        structure=error.structure,
    )
