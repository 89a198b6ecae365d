"""Counts of what came lately, in memory that does not grow."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["SlidingCounts"]

Int = npt.NDArray[np.int64]

_PARTS = 12


class SlidingCounts:
    """Vectors of counts summed over the last ``length_s`` seconds.

    The window is a ring of twelve parts, and forgets the oldest of them at a time: it reaches back
    between eleven and twelve twelfths of its length. ``structures`` are counted beside the bins.
    """

    def __init__(
        self, size: int, length_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._part_s = length_s / _PARTS
        self._clock = clock
        # The last column counts structures.
        self._parts = np.zeros((_PARTS, size + 1), dtype=np.int64)
        self._total = np.zeros(size + 1, dtype=np.int64)
        self._now = self._part()

    @property
    def nbytes(self) -> int:
        """Memory of all counts."""
        return self._parts.nbytes + self._total.nbytes

    @property
    def structures(self) -> int:
        """How many structures were counted lately."""
        self._forget()
        return int(self._total[-1])

    @property
    def counts(self) -> Int:
        """[size]; not to be changed."""
        self._forget()
        return self._total[:-1]

    def add(self, counts: Int, structures: int) -> None:
        """Count ``structures`` more, whose features are ``counts`` [size]."""
        self._forget()
        part = self._parts[self._now % _PARTS]
        for sums in (part, self._total):
            sums[:-1] += counts
            sums[-1] += structures

    def _part(self) -> int:
        return int(self._clock() / self._part_s)

    def _forget(self) -> None:
        now = self._part()
        # After a long silence each part is emptied once.
        for expired in range(max(self._now + 1, now - _PARTS + 1), now + 1):
            part = self._parts[expired % _PARTS]
            self._total -= part
            part[:] = 0
        self._now = now
