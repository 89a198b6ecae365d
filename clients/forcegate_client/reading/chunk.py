"""Structures in a row as arrays, for work that never makes objects of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms

from forcegate_client.constraints import held_coordinates
from forcegate_client.errors import InvalidStructure
from forcegate_client.reading.record import Origin, Problem, Record
from forcegate_client.structures import StructureBatch

__all__ = ["Chunk", "chunk_of", "joined"]

Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Chunk:
    """Structures ``start`` to ``stop`` of the input; ``origins`` say where each of them stands.

    ``index`` [B] says which of them ``structures`` are, ascending; the others have a problem in
    ``problems``, by their index. ``held`` [N, 3] are coordinates that the input wants to stay as
    they are; structures in ``immovable``, by their place in the batch, are held in ways that no
    batch can, for which it has the problem.
    """

    start: int
    stop: int
    origins: list[Origin]
    index: Int
    structures: StructureBatch
    problems: dict[int, Problem]
    held: Bool
    immovable: dict[int, Problem]

    def origin(self, index: int) -> Origin:
        """Where structure ``index`` of the input stands."""
        return self.origins[index - self.start]

    def only(self, wanted: Int) -> Chunk:
        """The structures whose index is in ``wanted`` and could be read."""
        rows = np.flatnonzero(np.isin(self.index, wanted))
        return Chunk(
            self.start,
            self.stop,
            self.origins,
            self.index[rows],
            self.structures.select(rows),
            {},
            self.held[np.isin(self.structures.structure_index, rows)],
            {
                place: self.immovable[row]
                for place, row in enumerate(rows.tolist())
                if row in self.immovable
            },
        )


def chunk_of(start: int, records: Sequence[Record]) -> Chunk:
    """The chunk of ``records``, of which the first is structure ``start``."""
    places: list[int] = []
    atoms: list[Atoms] = []
    problems: dict[int, Problem] = {}
    held: list[Bool] = [np.zeros((0, 3), dtype=np.bool_)]
    immovable: dict[int, Problem] = {}
    for index, record in enumerate(records, start):
        if record.atoms is not None:
            try:
                held.append(held_coordinates(record.atoms))
            except InvalidStructure as error:
                held.append(np.zeros((len(record.atoms), 3), dtype=np.bool_))
                immovable[len(places)] = Problem.of(error.to_problem())
            places.append(index)
            atoms.append(record.atoms)
        elif record.problem is not None:
            problems[index] = record.problem
    return Chunk(
        start,
        start + len(records),
        [record.origin for record in records],
        np.array(places, dtype=np.int64),
        StructureBatch.from_atoms(atoms),
        problems,
        np.concatenate(held),
        immovable,
    )


def joined(start: int, stop: int, parts: Sequence[tuple[int, Chunk]]) -> Chunk:
    """One chunk of several in a row, each with the index at which its source begins."""
    empty = np.zeros(0, dtype=np.int64)
    batches = [part.structures for _, part in parts]
    sizes = np.cumsum([0, *map(len, batches)]).tolist()
    return Chunk(
        start,
        stop,
        [origin for _, part in parts for origin in part.origins],
        np.concatenate([empty, *(part.index + begin for begin, part in parts)]),
        StructureBatch.concatenate(batches) if batches else StructureBatch.from_atoms([]),
        {i + begin: problem for begin, part in parts for i, problem in part.problems.items()},
        np.concatenate([np.zeros((0, 3), dtype=np.bool_), *(part.held for _, part in parts)]),
        {
            place + before: problem
            for before, (_, part) in zip(sizes, parts, strict=False)
            for place, problem in part.immovable.items()
        },
    )
