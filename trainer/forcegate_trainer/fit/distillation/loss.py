"""How far a student is from its mentor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forcegate_trainer.fit.distillation.questions import STEP
from forcegate_trainer.fit.loss import energy_errors, mean_norm
from forcegate_trainer.network.potential import Potential, last_layer

__all__ = ["distillation_errors", "new_feature_map"]

# (eV/Å²)²; most atoms are far from the one that moves, and their rows are rounding and little else.
_ROW_TIP = 1e-4
# eV/Å²; a stiff bond has a hundred, and no student that does not explode is further off.
_LARGEST_ROW = 1000.0


def distillation_errors(
    model: Potential,
    feature_map: nn.Linear | None,
    inputs: tuple[Tensor, ...],
    energies: Tensor,
    forces: Tensor,
    whole: Tensor,
    atomic_energies: Tensor | None,
    features: Tensor | None,
    rows: Tensor | None,
) -> Tensor:
    """Force and energy error as in ``fit.loss.errors``, then those against the mentor [T].

    ``energies`` [B] and ``forces`` [N, 3] belong to the first B structures of ``inputs``; pairs of
    displaced ones may follow. ``atomic_energies`` [N] in eV without reference energies,
    ``features`` [N, H'] in units of their spread, ``rows`` [M, 3] in eV/Å² of the displaced
    structures; what is None has no term. ``whole`` [3] holds the atoms, the frames and the atoms of
    ``rows`` that the means are over.
    """
    predicted, predicted_forces, _, _, own_features = model.evaluate(*inputs)
    n_atoms, n_frames = forces.shape[0], energies.shape[0]
    per_atom = energy_errors(predicted[:n_frames] - energies, inputs[5][:n_frames]).sum()
    terms = [
        mean_norm(predicted_forces[:n_atoms] - forces, whole[0]),
        per_atom / whole[1],
    ]
    own = own_features[:n_atoms]
    if atomic_energies is not None:
        atomic = last_layer(model)(own).squeeze(1)
        terms.append((atomic - atomic_energies).abs().sum() / whole[0])
    if features is not None and feature_map is not None:
        terms.append((feature_map(own) - features).square().mean(1).sum().double() / whole[0])
    if rows is not None:
        moved, n_rows = predicted_forces[n_atoms:], rows.shape[0]
        ahead, behind = moved[:n_rows], moved[n_rows:]
        wrong = (behind - ahead) / (2.0 * STEP) - rows
        terms.append(mean_norm(wrong, whole[2], _ROW_TIP, _LARGEST_ROW))
    return torch.stack(terms)


def new_feature_map(model: Potential, mentor_features: int) -> nn.Linear:
    """A linear map from the student's features [N, H] to the mentor's [N, H'].

    It is trained with the student and thrown away after it (node-to-node distillation,
    arXiv:2306.14818). Its first weights are the same in every process.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Linear(last_layer(model).in_features, mentor_features)
