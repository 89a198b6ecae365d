"""What a student is trained to make small."""

from __future__ import annotations

import torch
from torch import Tensor

from forcegate_trainer.painn.potential import Potential

__all__ = ["loss"]

# (eV/Å)²; rounds off the tip of the norm, far below any force error that matters.
_TIP = 1e-8


def loss(
    model: Potential,
    inputs: tuple[Tensor, ...],
    energies: Tensor,
    forces: Tensor,
    whole: Tensor,
    energy_weight: float,
) -> Tensor:
    """Mean norm of the force error plus the weighted mean |energy error| per atom.

    The norm, not its square: frames of stretched bonds have errors ten times those of thermal
    ones, and would have a hundred times their say. It turns with the molecule, which a sum over
    components does not.

    ``whole`` [2] holds the atoms and the frames that the means are over: those of a whole batch,
    so that the losses of its shares add up to its own, however it is shared out.
    """
    predicted, predicted_forces, _, _, _ = model.evaluate(*inputs)
    n_atoms = inputs[5]
    force_error = torch.sqrt((predicted_forces - forces).square().sum(1) + _TIP).sum()
    energy_error = ((predicted - energies) / n_atoms).abs().sum()
    return force_error / whole[0] + energy_weight * energy_error / whole[1]
