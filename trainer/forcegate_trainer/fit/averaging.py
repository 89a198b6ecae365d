"""Exponential moving average of weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from forcegate_trainer.network.student import Student

__all__ = ["WeightAverage"]


class WeightAverage:
    """Average of a model's parameters over about 1 / (1 − decay) steps.

    Early on, when fewer steps have been taken, it averages over a tenth of them.
    """

    def __init__(self, model: Student, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._averaged: list[Tensor] = list(self.model.parameters())
        self._live: list[Tensor] = list(model.parameters())
        self._decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the model's weights after ``step`` steps."""
        decay = min(self._decay, (1.0 + step) / (10.0 + step))
        torch._foreach_lerp_(self._averaged, self._live, 1.0 - decay)
