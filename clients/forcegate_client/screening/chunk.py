"""What a reader hands on: some structures in a row, and why others among them are missing."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import StructureBatch

__all__ = ["Chunk", "Failure"]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Failure:
    """Why structure ``index`` of the input has no result; ``transient`` ones are tried again."""

    index: int
    code: str
    detail: str
    transient: bool = False


@dataclass(frozen=True)
class Chunk:
    """Structures ``start`` to ``stop`` of the input.

    ``index`` [B] says which of them ``structures`` are, ascending; the rest is in ``failures``.
    ``labels`` [B] are their names in the input, if its format has names.
    """

    start: int
    stop: int
    index: Int
    structures: StructureBatch
    labels: list[str] | None = None
    failures: list[Failure] = field(default_factory=list)

    def only(self, wanted: Int) -> Chunk:
        """The structures whose index is in ``wanted`` and could be read."""
        rows = np.flatnonzero(np.isin(self.index, wanted))
        labels = None if self.labels is None else [self.labels[row] for row in rows.tolist()]
        return Chunk(self.start, self.stop, self.index[rows], self.structures.select(rows), labels)
