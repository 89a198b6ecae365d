"""Which optimiser moves which weights."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from forcegate_trainer.fit.config import FitConfig
from forcegate_trainer.fit.muon import Muon, orthogonalised
from forcegate_trainer.network.student import Student

__all__ = ["make_optimizers"]


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
