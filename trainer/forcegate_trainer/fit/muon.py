"""Muon: momentum whose matrices are made orthogonal before they are added to the weights."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

__all__ = ["Muon", "orthogonalised"]

# Keller Jordan's polynomial x(a + b x² + c x⁴): steep at zero, so that five rounds lift small
# singular values; large ones end between 0.7 and 1.2.
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
# The RMS of AdamW's updates is about 0.2; an orthogonal [m, n] has 1 / sqrt(max(m, n)).
_RMS_OF_ADAMW = 0.2


def orthogonalised(matrices: Tensor) -> Tensor:
    """The orthogonal factors of ``matrices`` [K, m, n], roughly: singular values become about 1.

    Newton-Schulz iterations, products only. torch's own Muon does the same in bfloat16, one matrix
    at a time: on processors without bfloat16 arithmetic that takes several times as long.
    """
    a, b, c = _POLYNOMIAL
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(Optimizer):
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for matrices of weights.

    Nesterov momentum, orthogonalised, scaled to the RMS of AdamW's updates (Liu et al. 2025,
    arXiv:2502.16982), so that one learning rate and one weight decay serve both. Layers that give
    several things, or take several, are several maps in one matrix: a matrix ``block`` wide or
    high is treated as its square blocks, where they fill it. ``orthogonalise`` takes and returns
    [K, m, n]: blocks of one shape are treated together.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float,
        block: int,
        momentum: float = 0.95,
        orthogonalise: Callable[[Tensor], Tensor] = orthogonalised,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(parameters, defaults)
        # As torch's fused optimisers have it: where it is 1, no step is taken.
        self.found_inf: Tensor | None = None
        self._block, self._orthogonalise = block, orthogonalise
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim != 2:
                    raise ValueError(
                        f"received a parameter of shape {tuple(parameter.shape)}; expected "
                        "matrices: give the others to another optimiser"
                    )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move all matrices that have a gradient."""
        if closure is not None:
            raise ValueError("received a closure; expected gradients that were computed before")
        for group in self.param_groups:
            moving = [p for p in group["params"] if p.grad is not None]
            directions = [self._blocks(self._direction(p, group["momentum"])) for p in moving]
            for parameter, blocks in zip(moving, self._updates(directions), strict=True):
                scale = group["lr"] * _RMS_OF_ADAMW * math.sqrt(max(blocks.shape[1:]))
                taken = 1.0 if self.found_inf is None else 1.0 - self.found_inf
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"] * taken)
                self._blocks(parameter).sub_(blocks * taken, alpha=scale)

    def _direction(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        average: Tensor = state["momentum"]
        if self.found_inf is not None:
            # What is left of the momentum of the other steps stays as it is.
            gradient = torch.where(self.found_inf > 0.0, average, gradient)
        average.lerp_(gradient, 1.0 - momentum)
        return gradient.lerp(average, momentum)

    def _blocks(self, matrix: Tensor) -> Tensor:
        """A view [K, m, n] of the matrix: its square blocks, or itself as the only one."""
        size = self._block
        if matrix.shape[1] == size and matrix.shape[0] % size == 0:
            return matrix.view(-1, size, size)
        if matrix.shape[0] == size and matrix.shape[1] % size == 0:
            return matrix.view(size, -1, size).transpose(0, 1)
        return matrix[None]

    def _updates(self, directions: list[Tensor]) -> list[Tensor]:
        together: dict[torch.Size, list[int]] = defaultdict(list)
        for index, blocks in enumerate(directions):
            together[blocks.shape[1:]].append(index)
        updates = list(directions)
        for indices in together.values():
            made = self._orthogonalise(torch.cat([directions[index] for index in indices]))
            counts = [len(directions[index]) for index in indices]
            for index, blocks in zip(indices, made.split(counts), strict=True):
                updates[index] = blocks
        return updates
