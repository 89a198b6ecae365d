"""What a student is trained to make small."""

from __future__ import annotations

import torch
from torch import Tensor

from forcegate_trainer.network.potential import Potential

__all__ = ["TERMS", "energy_errors", "errors", "mean_norm", "robust"]

TERMS = ("force", "energy")

# (eV/Å)²; rounds off the tip of the norm, far below any force error that matters.
_TIP = 1e-8
# eV per atom. An energy's slope has the same sign for all atoms of a frame, a force's has not: as
# a plain |error|, at the default weight, it is ten times as long as that of the forces.
_ENERGY_KNEE = 0.1
# eV/Å, and eV per atom: a frame that a student explodes on is beyond, thermal ones never are.
_LARGEST_FORCE, _LARGEST_ENERGY = 10.0, 1.0


def errors(
    model: Potential, inputs: tuple[Tensor, ...], energies: Tensor, forces: Tensor, whole: Tensor
) -> Tensor:
    """Mean norm of the force error in eV/Å, and mean robust energy error per atom in eV [2].

    The norm, not its square: frames of stretched bonds have errors ten times those of thermal
    ones, and would have a hundred times their say. It turns with the molecule, which a sum over
    components does not.

    ``whole`` [2] holds the atoms and the frames that the means are over: those of a whole batch,
    so that the errors of its shares add up to its own, however it is shared out.
    """
    predicted, predicted_forces, _, _, _ = model.evaluate(*inputs)
    energy_error = energy_errors(predicted - energies, inputs[5]).sum()
    return torch.stack([mean_norm(predicted_forces - forces, whole[0]), energy_error / whole[1]])


def energy_errors(error: Tensor, n_atoms: Tensor) -> Tensor:
    """Of each frame, per atom, from ``error`` [B] in eV."""
    return robust(error / n_atoms, _LARGEST_ENERGY, _ENERGY_KNEE)


def mean_norm(
    error: Tensor, count: Tensor, tip: float = _TIP, largest: float = _LARGEST_FORCE
) -> Tensor:
    """Sum of the norms of ``error`` [N, 3], over ``count``; ``tip`` keeps its slope finite at 0.

    Beyond ``largest``, 10 eV/Å for forces, a norm counts by its logarithm.
    """
    return robust(torch.sqrt(error.square().sum(1) + tip), largest).sum() / count


def robust(error: Tensor, largest: float, knee: float = 0.0) -> Tensor:
    """|error|, but square below ``knee`` (Huber 1964) and logarithmic above ``largest``.

    The slope falls towards 0 with the error: what is nearly right leaves the others their say. And
    it falls as 1/error when the error is enormous: a frame on which the student explodes would
    otherwise fill the whole gradient, which is then clipped, and be learned by nobody.
    """
    size = error.abs()
    if knee:
        small = size.clamp(max=knee)
        size = size - small + small.square() / (2.0 * knee)
    return size.clamp(max=largest) + largest * torch.log(size.clamp(min=largest) / largest)
