"""One optimiser step on one batch, compiled or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch._functorch.config as functorch_config
import torch.distributed
from torch import Tensor, nn

from forcegate_trainer.fit.batch import FrameBatch
from forcegate_trainer.fit.charged import charged_errors
from forcegate_trainer.fit.config import FitConfig
from forcegate_trainer.fit.distillation.loss import distillation_errors, new_feature_map
from forcegate_trainer.fit.loss import TERMS, errors
from forcegate_trainer.fit.optimizers import WeightAverage, make_optimizers
from forcegate_trainer.network.potential import Potential
from forcegate_trainer.network.student import Student

__all__ = ["StepTaken", "TrainingStep"]

# What is cheap is computed again on the way back instead of being stored on the way forward: a
# step waits for memory more than for arithmetic.
_RECOMPUTE = {
    "ban_recompute_used_far_apart": False,
    "ban_recompute_long_fusible_chains": False,
    "ban_recompute_materialized_backward": False,
}


class StepTaken(NamedTuple):
    """What a step tells: loss of the whole batch, norm of its gradient before clipping, and terms.

    ``errors`` are means without their weights, by name: ``force`` in eV/Å, ``energy`` in eV per
    atom, ``atomic_energy`` in eV, ``feature`` in squared spreads, ``hessian`` in eV/Å².
    """

    loss: float
    norm: float
    errors: dict[str, float]


class TrainingStep:
    """Loss, gradient, clipping, the optimisers and the average of the weights.

    Of several workers each calls it with its share of a batch; all take the same step.
    ``mentor_features`` is the width of the features that the student's are compared with.
    """

    def __init__(
        self, model: Student, config: FitConfig, mentor_features: int | None = None
    ) -> None:
        self.model = model
        self.device = model.reference_energies.device
        weights = config.charge_weights
        if config.distillation is not None:
            # A hint that weighs nothing is not computed; errors of charges come in one piece.
            hints = config.distillation.weights
            weights = {name: weight for name, weight in hints.items() if weight}
        self._names = [*TERMS, *weights]
        self._weights = list(weights.values())
        self.feature_map: nn.Linear | None = None
        if mentor_features is not None and isinstance(model, Potential):
            self.feature_map = new_feature_map(model, mentor_features).to(self.device)
        self._parameters = list(model.parameters())
        if self.feature_map is not None:
            self._parameters += self.feature_map.parameters()
        self.optimizers = make_optimizers(model, self.feature_map, config)
        # 1 where a gradient is not finite: what the optimisers are told on the device itself, so
        # that nobody waits for it to be computed.
        self._skip = torch.zeros((), device=self.device)
        for optimizer in self.optimizers:
            optimizer.found_inf = self._skip  # type: ignore[attr-defined]
        self.average = WeightAverage(model, config.ema_decay)
        self._config = config
        plain: Callable[..., Tensor] = distillation_errors if config.distillation else errors
        if config.architecture.charges:
            plain = charged_errors
        self._errors = _compiled(plain) if config.compile else plain

    def __call__(
        self, batch: FrameBatch, rate: float, number: int, energy_weight: float | None = None
    ) -> Tensor:
        """Take the step; what it tells is for :meth:`read`, on the device that computes it.

        ``rate`` is the learning rate, ``number`` counts the steps, ``energy_weight`` is that of
        the settings where it is not given. A gradient that is not finite moves no weight.
        """
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
        terms = self._terms(batch.to(self.device))
        energy = self._config.energy_weight if energy_weight is None else energy_weight
        weights = torch.tensor(
            [1.0, energy, *self._weights], dtype=terms.dtype, device=terms.device
        )
        (terms @ weights).backward()
        terms = terms.detach()
        if self._config.workers > 1:
            terms = _sum_over_workers(self._parameters, terms)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._config.clip_norm)
        self._skip.copy_(~torch.isfinite(norm))
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update(number)
        loss = torch.dot(terms, weights.to(terms.dtype))
        return torch.cat([loss[None], norm[None].to(terms.dtype), terms])

    def read(self, told: Tensor) -> StepTaken:
        """What a step said of itself; waits until it is computed."""
        loss, norm, *terms = told.tolist()
        return StepTaken(loss, norm, dict(zip(self._names, terms, strict=True)))

    def _terms(self, batch: FrameBatch) -> Tensor:
        labelled = batch.inputs, batch.energies, batch.forces, batch.whole
        if batch.charges is not None:
            return self._errors(self.model, *labelled, batch.charges)
        if batch.hints is None:
            return self._errors(self.model, *labelled)
        return self._errors(self.model, self.feature_map, *labelled, *batch.hints)


def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``function`` with its gradient in generated code, for batches of any shape."""
    compiled = torch.compile(function, dynamic=True)

    def compute(*arguments: Any) -> Tensor:
        # It is compiled when a shape first asks for it.
        with functorch_config.patch(_RECOMPUTE):
            value: Tensor = compiled(*arguments)
        return value

    return compute


def _sum_over_workers(parameters: list[nn.Parameter], values: Tensor) -> Tensor:
    """Add up all workers' gradients in place, and return the sum of their ``values`` [T]."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([values.float(), *(g.reshape(-1) for g in gradients)])
    torch.distributed.all_reduce(flat)
    start = len(values)
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()
    return flat[: len(values)]
