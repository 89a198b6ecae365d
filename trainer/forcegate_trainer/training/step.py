"""One optimiser step on one batch, compiled or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch._functorch.config as functorch_config
import torch.distributed
from torch import Tensor

from forcegate_trainer.painn.potential import Potential
from forcegate_trainer.training.averaging import WeightAverage
from forcegate_trainer.training.config import FitConfig
from forcegate_trainer.training.frames import FrameBatch
from forcegate_trainer.training.loss import loss

__all__ = ["TrainingStep"]

# What is cheap is computed again on the way back instead of being stored on the way forward: a
# step waits for memory more than for arithmetic.
_RECOMPUTE = {
    "ban_recompute_used_far_apart": False,
    "ban_recompute_long_fusible_chains": False,
    "ban_recompute_materialized_backward": False,
}


class TrainingStep:
    """Loss, gradient, clipping, AdamW and the average of the weights.

    Of several workers each calls it with its share of a batch; all take the same step.
    """

    def __init__(self, model: Potential, config: FitConfig) -> None:
        self.model = model
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.average = WeightAverage(model, config.ema_decay)
        self._config = config
        self._loss = _compiled_loss() if config.compile else loss

    def __call__(self, batch: FrameBatch, rate: float, number: int) -> tuple[float, float]:
        """The loss of the whole batch and the norm of its gradient before clipping.

        ``rate`` is the learning rate, ``number`` counts the steps. A gradient that is not finite
        changes nothing.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        value = self._loss(
            self.model,
            batch.inputs,
            batch.energies,
            batch.forces,
            batch.whole,
            self._config.energy_weight,
        )
        value.backward()
        value = value.detach()
        if self._config.workers > 1:
            value = _sum_over_workers(self.model, value)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._config.clip_norm)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.average.update(number)
        return value.item(), norm.item()


def _compiled_loss() -> Callable[..., Tensor]:
    """``loss`` with its gradient in generated code, for batches of any shape."""
    compiled = torch.compile(loss, dynamic=True)

    def compute(*arguments: Any) -> Tensor:
        # It is compiled when a shape first asks for it.
        with functorch_config.patch(_RECOMPUTE):
            value: Tensor = compiled(*arguments)
        return value

    return compute


def _sum_over_workers(model: torch.nn.Module, value: Tensor) -> Tensor:
    """Add up all workers' gradients in place, and return the sum of their losses."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([value.reshape(1).float(), *(g.reshape(-1) for g in gradients)])
    torch.distributed.all_reduce(flat)
    start = 1
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()
    return flat[0]
