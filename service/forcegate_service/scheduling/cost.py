"""Predicted seconds of an evaluation: measured at warm-up, corrected by every batch since."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar, overload

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

__all__ = ["CostModel", "Timing"]

Float = npt.NDArray[np.float64]
Number = TypeVar("Number", float, Float)

# How far one batch moves the correction, and how far from the warm-up it may get: compiled code
# that takes over while TorchScript serves is several times as fast, a busy machine as slow.
_LEARNING_RATE = 0.1
_FARTHEST = 30.0


class Timing(NamedTuple):
    """An evaluation of ``atoms`` and ``edges`` that took ``seconds``."""

    atoms: int
    edges: int
    seconds: float


class CostModel:
    """``base + per atom · N + per edge · E`` seconds for a batch of N atoms and E edges.

    Predicted on the event loop, corrected by the thread that evaluates: what they share is one
    number, replaced as a whole.
    """

    def __init__(self, base_s: float, atom_s: float, edge_s: float) -> None:
        self._base_s, self._atom_s, self._edge_s = base_s, atom_s, edge_s
        self._log_scale = 0.0

    @classmethod
    def fitted(cls, timings: Sequence[Timing]) -> CostModel:
        """The non-negative coefficients with the smallest relative errors at ``timings``."""
        seconds = np.array([max(one.seconds, 1e-9) for one in timings])
        terms = np.array([(1.0, one.atoms, one.edges) for one in timings])
        coefficients, _ = nnls(terms / seconds[:, None], np.ones(len(timings)))
        return cls(*coefficients.tolist())

    @property
    def base_s(self) -> float:
        """What a batch costs however small it is."""
        return self._base_s * math.exp(self._log_scale)

    @overload
    def marginal(self, atoms: float, edges: float) -> float: ...
    @overload
    def marginal(self, atoms: Float, edges: Float) -> Float: ...
    def marginal(self, atoms: float | Float, edges: float | Float) -> float | Float:
        """What ``atoms`` and ``edges`` add to a batch; numbers, or arrays of one shape."""
        return (self._atom_s * atoms + self._edge_s * edges) * math.exp(self._log_scale)

    def observe(self, timing: Timing) -> None:
        """Learn from a batch."""
        predicted = self.base_s + self.marginal(timing.atoms, timing.edges)
        if predicted <= 0.0 or timing.seconds <= 0.0:
            return
        moved = self._log_scale + _LEARNING_RATE * math.log(timing.seconds / predicted)
        limit = math.log(_FARTHEST)
        self._log_scale = min(max(moved, -limit), limit)
