"""Counts of what came lately, in memory that does not grow."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["SlidingCounts", "population_stability_index"]

Int = npt.NDArray[np.int64]

_PARTS = 12
# The part of each distribution that is spread over all bins alike, so that an empty bin has a
# logarithm: a tenth of the sample in a bin that the other one never fills adds 0.7 to 0.8.
_SMOOTHING = 1e-3


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


def population_stability_index(counts: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """PSI = Σ (p − q) ln(p / q) over the bins, with p and q the shares of both counts [K].

    Known from credit scoring (Siddiqi 2006, "Credit Risk Scorecards", where less than 0.1 is
    called stable and more than 0.25 a shift), and the same as Jeffreys' divergence, the sum of the
    Kullback-Leibler divergences both ways. It is zero for equal shares and else positive, does not
    depend on which is which, nor on how much was counted; but of n samples of the *same*
    distribution chance alone makes about (K − 1)/n (Yurdakul and Naranjo 2020,
    doi:10.21314/JRMV.2020.227). Bins without counts: p becomes (1 − ε) p + ε/K, with ε = 0.001.

    Raises:
        ValueError: if one of them holds nothing, or they have different bins.
    """
    mine, theirs = np.asarray(counts, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if mine.shape != theirs.shape or not mine.sum() or not theirs.sum():
        raise ValueError(
            f"counts of {mine.shape} and {theirs.shape} bins with {mine.sum():g} and "
            f"{theirs.sum():g} values; expected the same bins, and something in them"
        )
    p, q = _shares(mine), _shares(theirs)
    return float(np.sum((p - q) * np.log(p / q)))


def _shares(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shares: npt.NDArray[np.float64] = (1.0 - _SMOOTHING) * counts / counts.sum()
    return shares + _SMOOTHING / len(counts)
