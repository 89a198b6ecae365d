"""Predicted seconds of an evaluation: measured at warm-up, corrected by every batch since."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from forcegate_service.contract.size import Float, GraphSize, Number

__all__ = ["CostModel", "Timing"]

# How far one batch moves the correction, and how far from the warm-up it may get: a busy machine is
# several times as slow.
_LEARNING_RATE = 0.1
_FARTHEST = 30.0


class Timing(NamedTuple):
    """An evaluation of a graph of ``size`` that took ``seconds``."""

    size: GraphSize[float]
    seconds: float


class CostModel:
    """``base + per atom · N + per edge · E + per pair · P`` seconds for a batch of N atoms, E edges
    and P pairs.

    Predicted on the event loop, corrected by whoever evaluates: what they share is one number,
    replaced as a whole.
    """

    def __init__(self, base_s: float, atom_s: float, edge_s: float, pair_s: float = 0.0) -> None:
        self._base_s = base_s
        self._atom_s, self._edge_s, self._pair_s = atom_s, edge_s, pair_s
        self._scale = 1.0

    @classmethod
    def fitted(cls, timings: Sequence[Timing]) -> CostModel:
        """The non-negative coefficients with the smallest relative errors at ``timings``."""
        seconds = np.array([max(one.seconds, 1e-9) for one in timings])
        terms = np.array([(1.0, *one.size) for one in timings])
        return cls(*_non_negative(terms / seconds[:, None]).tolist())

    @property
    def base_s(self) -> float:
        """What a batch costs however small it is."""
        return self._base_s * self._scale

    def marginal(self, size: GraphSize[Number]) -> Number:
        """Seconds that ``size`` adds to a batch, or each of its structures."""
        seconds = self._atom_s * size.atoms + self._edge_s * size.edges + self._pair_s * size.pairs
        return seconds * self._scale

    def observe(self, timing: Timing) -> None:
        """Learn from a batch."""
        predicted = self.base_s + self.marginal(timing.size)
        if predicted <= 0.0 or timing.seconds <= 0.0:
            return
        moved = self._scale * (timing.seconds / predicted) ** _LEARNING_RATE
        self._scale = min(max(moved, 1.0 / _FARTHEST), _FARTHEST)


def _non_negative(terms: Float) -> Float:
    """The x ≥ 0 with the smallest |``terms`` x - 1|.

    Where some of x are zero, the others are those of an ordinary fit. Of four unknowns every choice
    is tried, which spares the process scipy and its tens of megabytes.
    """
    ones, size = np.ones(len(terms)), terms.shape[1]
    best, least = np.zeros(size), float(len(terms))
    for chosen in (list(c) for n in range(1, size + 1) for c in combinations(range(size), n)):
        fitted = np.linalg.lstsq(terms[:, chosen], ones)[0]
        error = float(np.sum((terms[:, chosen] @ fitted - ones) ** 2))
        if error < least and fitted.min() >= 0.0:
            best, least = np.zeros(size), error
            best[chosen] = fitted
    return best
