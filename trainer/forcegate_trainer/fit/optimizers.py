"""What moves the weights, how far in each step of a run, and their average."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from forcegate_trainer.fit.config import FitConfig
from forcegate_trainer.fit.muon import Muon, orthogonalised
from forcegate_trainer.network.student import Student

__all__ = ["WeightAverage", "energy_weight", "learning_rate", "make_optimizers"]

# The part of a run after which rate and energy's weight begin to move.
_LATE = 0.8


def make_optimizers(
    model: Student, feature_map: nn.Linear | None, config: FitConfig
) -> tuple[Optimizer, ...]:
    """AdamW, for all weights or, with Muon beside it, for those that are no matrices.

    A matrix that maps features to features is Muon's. The embedding is a table, not a map, and
    the last layer a vector. ``feature_map`` is thrown away after training: its weights only
    translate, and are not decayed.
    """
    matrices: list[nn.Parameter] = []
    if config.optimizer == "muon":
        matrices = [
            module.get_parameter("weight")
            for module in model.modules()
            if isinstance(module, nn.Linear) and module.out_features > 1
        ]
    taken = set(map(id, matrices))
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if id(p) not in taken]}
    ]
    if feature_map is not None:
        groups.append({"params": list(feature_map.parameters()), "weight_decay": 0.0})
    rate, decay = config.learning_rate, config.weight_decay
    adamw = torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)
    if not matrices:
        return (adamw,)
    orthogonalise = _shared_out if config.workers > 1 else orthogonalised
    muon = Muon(
        matrices,
        lr=rate,
        weight_decay=decay,
        block=config.architecture.width,
        orthogonalise=orthogonalise,
    )
    return adamw, muon


def _shared_out(matrices: Tensor) -> Tensor:
    """``orthogonalised(matrices)`` [K, m, n]; each worker does some, and all get the same."""
    mine = slice(torch.distributed.get_rank(), None, torch.distributed.get_world_size())
    made = torch.zeros_like(matrices)
    made[mine] = orthogonalised(matrices[mine])
    torch.distributed.all_reduce(made)
    return made


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


def learning_rate(step: int, total_steps: int, config: FitConfig) -> float:
    """Linear warm-up, a constant rate, and a linear way down to the final rate in the last fifth.

    Until the way down begins nothing depends on the length of the run, so that it can be lengthened
    or ended at any time (Hu et al. 2024, arXiv:2404.06395). A short run warms up for a tenth of its
    steps.
    """
    warmup = min(config.warmup_steps, total_steps // 10)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    span = config.learning_rate - config.final_learning_rate
    return config.learning_rate - span * _late_progress(step, total_steps)


def energy_weight(step: int, total_steps: int, config: FitConfig) -> float:
    """Constant, or with a linear ramp to the late weight over the last fifth of the run."""
    if config.late_energy_weight is None:
        return config.energy_weight
    progress = _late_progress(step, total_steps)
    return config.energy_weight + progress * (config.late_energy_weight - config.energy_weight)


def _late_progress(step: int, total_steps: int) -> float:
    """0 until the last fifth of the run, then up to 1."""
    begin = _LATE * total_steps
    return min(1.0, max(0.0, (step - begin) / max(1.0, total_steps - begin)))
