"""Predicted seconds of an evaluation: measured at warm-up, corrected by every batch since."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from forcegate_service.graph_size import GraphSize, Number

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

    Predicted on the event loop, corrected by the thread that evaluates: what they share is one
    number, replaced as a whole.
    """

    def __init__(self, base_s: float, atom_s: float, edge_s: float, pair_s: float = 0.0) -> None:
        self._base_s = base_s
        self._atom_s, self._edge_s, self._pair_s = atom_s, edge_s, pair_s
        self._log_scale = 0.0

    @classmethod
    def fitted(cls, timings: Sequence[Timing]) -> CostModel:
        """The non-negative coefficients with the smallest relative errors at ``timings``."""
        seconds = np.array([max(one.seconds, 1e-9) for one in timings])
        terms = np.array([(1.0, *one.size) for one in timings])
        coefficients, _ = nnls(terms / seconds[:, None], np.ones(len(timings)))
        return cls(*coefficients.tolist())

    @property
    def base_s(self) -> float:
        """What a batch costs however small it is."""
        return self._base_s * math.exp(self._log_scale)

    def marginal(self, size: GraphSize[Number]) -> Number:
        """Seconds that ``size`` adds to a batch, or each of its structures."""
        seconds = self._atom_s * size.atoms + self._edge_s * size.edges + self._pair_s * size.pairs
        return seconds * math.exp(self._log_scale)

    def observe(self, timing: Timing) -> None:
        """Learn from a batch."""
        predicted = self.base_s + self.marginal(timing.size)
        if predicted <= 0.0 or timing.seconds <= 0.0:
            return
        moved = self._log_scale + _LEARNING_RATE * math.log(timing.seconds / predicted)
        limit = math.log(_FARTHEST)
        self._log_scale = min(max(moved, -limit), limit)
