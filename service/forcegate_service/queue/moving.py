"""Runs in the queue: chunks of steps that are advanced together, beside requests and in turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forcegate_client.errors import RuntimeUnavailable
from forcegate_service.contract.motion import Chunk, Moved, Mover, StartMoving
from forcegate_service.queue.version import ServedVersion

__all__ = ["Move", "MovingBatch", "can_move"]

logger = logging.getLogger(__name__)


def can_move(version: ServedVersion) -> bool:
    """Whether what evaluates ``version`` advances runs itself."""
    return bool(getattr(version.runtime, "moves", False))


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """A chunk that a run waits for, predicted to take ``seconds``."""

    chunk: Chunk
    seconds: float
    future: asyncio.Future[tuple[Moved, float]]


@dataclass(eq=False)
class MovingBatch:
    """Chunks of one method that are advanced together; see ``Batch``."""

    version: ServedVersion
    work: Sequence[Move]
    seconds: float
    alone: bool = True

    def __post_init__(self) -> None:
        self._chunk = Chunk.joined([move.chunk for move in self.work])

    def begin(self, done: Callable[[Any, float], None]) -> bool:
        """Whether the runtime needs no thread to wait for it, and has begun."""
        start: StartMoving | None = getattr(self.version.runtime, "start_moving", None)
        return start is not None and start(self._chunk, done)

    def evaluate(self, failed: bool) -> Moved:
        """On a thread: all that can be moved; all together may have ``failed`` already."""
        runtime: Any = self.version.runtime
        return _isolated(runtime, self._chunk, failed, self.version.card.charges)

    def answers(self, moved: Moved, seconds: float) -> list[tuple[Moved, float]]:
        """One for each move, with the time of its part of the batch."""
        found, run, atom = [], 0, 0
        total = sum(move.seconds for move in self.work)
        for move in self.work:
            n = len(move.chunk.atomic_numbers)
            part = moved.part(run, slice(atom, atom + n))
            found.append((part, seconds * move.seconds / total if total else seconds))
            run, atom = run + 1, atom + n
        return found


def _isolated(runtime: Mover, chunk: Chunk, failed: bool, charges: bool) -> Moved:
    """Advance ``chunk``; where that fails, halve it until only the offenders fail.

    Raises:
        RuntimeUnavailable: if nobody is there to advance anything.
    """
    size = len(chunk.n_atoms)
    if not failed or size == 1:
        try:
            return runtime.advance(chunk)
        except RuntimeUnavailable:
            raise
        except Exception:
            if size == 1:
                logger.exception("the runtime failed on a run of %d atoms", chunk.n_atoms[0])
                why = "prediction_failed", "a structure on which the model fails"
                return Moved.nowhere(chunk, charges, why)
    half = np.arange(size) < size // 2
    parts = (chunk.part(half), chunk.part(~half))
    return Moved.joined([_isolated(runtime, part, False, charges) for part in parts])
