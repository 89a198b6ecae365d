"""Uncertainty and novelty from the features that enter the last linear layer.

The energy is linear in the summed features f of a structure. Last-layer prediction rigidity
(Bigi et al. 2024, arXiv:2403.02251) takes that layer as a Bayesian linear regression:
σ² = α² fᵀ (Σ f fᵀ + ς²)⁻¹ f, the sum over many training structures (how many is in α's scale), α
and ς from the validation structures. Novelty is the Mahalanobis distance of an atom's features
from the mean of its element, with one covariance for all elements (Lee et al. 2018,
arXiv:1807.03888), divided by the square root of the number of features: about 1 for an atom of the
training set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from forcegate_client.checks.charges import MOST_MISSING, net_charges
from forcegate_client.dataset import Dataset
from forcegate_service.contract.graph import build_graph
from forcegate_service.runtimes.torchscript import tensors_of
from forcegate_trainer.data.datasets import structures_of
from forcegate_trainer.network.student import Student
from forcegate_trainer.progress import Tell, tell_nobody

__all__ = ["Calibration", "calibrate"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Reach = tuple[float, float | None]

_BATCH = 32
# So many training frames are drawn at random where there are more: some hundred features have no
# use for others, and each costs a millisecond or two.
_MOST_FRAMES = 20_000
_SEED = 0
# ς² tried, relative to the mean diagonal of Σ f fᵀ.
_RIDGES = 10.0 ** np.arange(-12.0, -1.0)


@dataclass(frozen=True)
class Calibration:
    """What was chosen on the validation structures, and how well it fits them.

    ``ridge`` is ς² relative to the mean diagonal, ``scale`` is α in eV, ``nll`` the mean negative
    log-likelihood of the validation energy errors under N(0, σ²).
    """

    ridge: float
    scale: float
    nll: float


@torch.inference_mode()
def calibrate(
    model: Student,
    dataset: Dataset,
    train: Int,
    validation: Int,
    reach: Reach,
    tell: Tell = tell_nobody,
) -> Calibration:
    """Fill the uncertainty and novelty buffers of ``model``, whose graphs have this ``reach``.

    Validation frames that a server would refuse, since the charges are not those of their net
    charge, are nobody's answers and are left out: their errors are of another size.
    """
    if len(train) > _MOST_FRAMES:
        drawn = np.random.default_rng(_SEED).choice(train, _MOST_FRAMES, replace=False)
        train = np.sort(drawn)
    gram, atoms = _training_statistics(model, dataset, train, reach, tell)
    features, errors = _validation_errors(model, dataset, validation, reach)
    calibration, factor = _fit_scale(gram, features, errors)
    model.uncertainty_factor.copy_(torch.from_numpy(factor))
    means = atoms.sums / np.maximum(atoms.counts, 1)[:, None]
    covariance = (atoms.gram - (means.T * atoms.counts) @ means) / atoms.counts.sum()
    # A feature that never varies must not divide by zero.
    covariance += 1e-8 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    model.novelty_mean.copy_(torch.from_numpy(means))
    model.novelty_factor.copy_(torch.from_numpy(_inverse_root(covariance)))
    return calibration


@dataclass
class _AtomSums:
    counts: Float
    sums: Float
    gram: Float


def _training_statistics(
    model: Student, dataset: Dataset, train: Int, reach: Reach, tell: Tell
) -> tuple[Float, _AtomSums]:
    n_elements, hidden = model.novelty_mean.shape
    gram = np.zeros((hidden, hidden))
    atoms = _AtomSums(
        np.zeros(n_elements), np.zeros((n_elements, hidden)), np.zeros((hidden, hidden))
    )
    for done, _, kind, features, total, _ in _evaluated(model, dataset, train, reach):
        gram += total.T @ total
        atoms.gram += features.T @ features
        np.add.at(atoms.sums, kind, features)
        atoms.counts += np.bincount(kind, minlength=n_elements)
        tell("calibrating on the training frames", done, len(train))
    return gram, atoms


def _validation_errors(
    model: Student, dataset: Dataset, validation: Int, reach: Reach
) -> tuple[Float, Float]:
    """Summed features [F, H] and energy errors [F] in eV of the frames that are answered."""
    energies, totals, answered = [], [], []
    start = 0
    for done, energy, _, _, total, charges in _evaluated(model, dataset, validation, reach):
        frames, start = validation[start:done], done
        energies.append(energy)
        totals.append(total)
        if charges is None:
            answered.append(np.ones(len(frames), dtype=np.bool_))
        else:
            net = net_charges(charges, dataset.n_atoms[frames])
            answered.append(np.abs(net - dataset.charge[frames]) <= MOST_MISSING)
    kept = np.concatenate(answered)
    if not kept.any():
        # Training has hardly begun: what it says is wide of the mark, and so may σ be.
        kept[:] = True
    assert dataset.energies is not None
    errors = np.concatenate(energies) - dataset.energies[validation]
    return np.concatenate(totals)[kept], errors[kept]


def _evaluated(
    model: Student, dataset: Dataset, frames: Int, reach: Reach
) -> Iterator[tuple[int, Float, Int, Float, Float, Float | None]]:
    """For each batch: frames done, energies [B], elements [N], features [N, H], their sums [B, H].

    Last come the charges [N] in e, if the student knows any.
    """
    structures = structures_of(dataset)
    for start in range(0, len(frames), _BATCH):
        graph = build_graph(structures.select(frames[start : start + _BATCH]), *reach)
        energy, _, _, *told, element, narrow = model.evaluate(*tensors_of(graph))
        features = narrow.double().numpy()
        total = np.zeros((len(graph.n_atoms), features.shape[1]))
        np.add.at(total, graph.structure_index, features)
        done = start + len(graph.n_atoms)
        charges = told[0].double().numpy() if told else None
        yield done, energy.numpy(), element.numpy(), features, total, charges


def _fit_scale(gram: Float, features: Float, errors: Float) -> tuple[Calibration, Float]:
    best: tuple[Calibration, Float] | None = None
    unit = np.trace(gram) / len(gram)
    for ridge in _RIDGES:
        root = _inverse_root(gram + ridge * unit * np.eye(len(gram)))
        raw = np.linalg.norm(features @ root, axis=1)
        # The maximum-likelihood scale for this ridge.
        scale = float(np.sqrt(np.mean((errors / raw) ** 2)))
        sigma = scale * raw
        nll = float(np.mean(0.5 * (errors / sigma) ** 2 + np.log(sigma * np.sqrt(2 * np.pi))))
        if best is None or nll < best[0].nll:
            best = Calibration(float(ridge), scale, nll), scale * root
    assert best is not None
    return best


def _inverse_root(matrix: Float) -> Float:
    """R with |x R|² = xᵀ matrix⁻¹ x, from the Cholesky factor."""
    lower = np.linalg.cholesky(matrix)
    inverse: Float = np.linalg.solve(lower, np.eye(len(matrix))).T
    return np.ascontiguousarray(inverse)
