"""What a student is trained to make small."""

from __future__ import annotations

import torch
from torch import Tensor

from forcegate_trainer.painn.potential import Potential

__all__ = ["TERMS", "errors", "mean_norm"]

TERMS = ("force", "energy")

# (eV/Å)²; rounds off the tip of the norm, far below any force error that matters.
_TIP = 1e-8


def errors(
    model: Potential, inputs: tuple[Tensor, ...], energies: Tensor, forces: Tensor, whole: Tensor
) -> Tensor:
    """Mean norm of the force error in eV/Å, and mean |energy error| per atom in eV [2].

    The norm, not its square: frames of stretched bonds have errors ten times those of thermal
    ones, and would have a hundred times their say. It turns with the molecule, which a sum over
    components does not.

    ``whole`` [2] holds the atoms and the frames that the means are over: those of a whole batch,
    so that the errors of its shares add up to its own, however it is shared out.
    """
    predicted, predicted_forces, _, _, _ = model.evaluate(*inputs)
    energy_error = ((predicted - energies) / inputs[5]).abs().sum()
    return torch.stack([mean_norm(predicted_forces - forces, whole[0]), energy_error / whole[1]])


def mean_norm(error: Tensor, count: Tensor, tip: float = _TIP) -> Tensor:
    """Sum of the norms of ``error`` [N, 3], over ``count``; ``tip`` keeps its slope finite at 0."""
    return torch.sqrt(error.square().sum(1) + tip).sum() / count
