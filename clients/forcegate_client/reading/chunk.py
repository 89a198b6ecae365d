"""Structures in a row as arrays, for work that never makes objects of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forcegate_client.reading.record import Origin, Problem, Record
from forcegate_client.structures import StructureBatch

__all__ = ["Chunk", "chunk_of", "joined"]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Chunk:
    """Structures ``start`` to ``stop`` of the input; ``origins`` say where each of them stands.

    ``index`` [B] says which of them ``structures`` are, ascending; the others have a problem in
    ``problems``, by their index.
    """

    start: int
    stop: int
    origins: list[Origin]
    index: Int
    structures: StructureBatch
    problems: dict[int, Problem]

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
        )


def chunk_of(start: int, records: Sequence[Record]) -> Chunk:
    """The chunk of ``records``, of which the first is structure ``start``."""
    places, atoms, problems = [], [], {}
    for index, record in enumerate(records, start):
        if record.atoms is not None:
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
    )


def joined(start: int, stop: int, parts: Sequence[tuple[int, Chunk]]) -> Chunk:
    """One chunk of several in a row, each with the index at which its source begins."""
    empty = np.zeros(0, dtype=np.int64)
    batches = [part.structures for _, part in parts]
    return Chunk(
        start,
        stop,
        [origin for _, part in parts for origin in part.origins],
        np.concatenate([empty, *(part.index + begin for begin, part in parts)]),
        StructureBatch.concatenate(batches) if batches else StructureBatch.from_atoms([]),
        {i + begin: problem for begin, part in parts for i, problem in part.problems.items()},
    )
