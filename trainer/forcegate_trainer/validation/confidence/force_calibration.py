"""What the disagreement of two students says of an error of theirs, found on held-out frames.

σ = √(scale² d² + floor²) with d of ``disagreement`` in ``contract/force_uncertainty.py``. For each
floor the scale is the one under which nine of ten errors are within 1.645 σ; the floor is the one
under which that is most nearly so for small σ and for large. Every molecule counts alike, and
quantiles are taken: one molecule that both students get wrong moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forcegate_client.dataset import Dataset
from forcegate_client.force_uncertainty import disagreement
from forcegate_service.contract.runtime import LoadedRuntime
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.validation.accuracy.heldout import forces_of_partner, predict_held_out
from forcegate_trainer.validation.statistics import rank_correlation

__all__ = ["COVERED", "ForceCalibration", "calibrate_forces", "fit_sigma"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

# Of a normal distribution, 90 % lie within so many standard deviations.
COVERED, _WITHIN = 0.9, 1.645
_FLOORS = np.concatenate([[0.0], np.geomspace(1e-3, 0.1, 21)])  # eV/Å
_BINS = 5


@dataclass(frozen=True)
class ForceCalibration:
    """``scale`` and ``floor`` (eV/Å), and how they do on the frames they are from.

    ``coverage`` of all components, and ``lowest_coverage`` in a fifth of them by σ; ``spearman`` is
    the rank correlation of σ and error, both as RMS over a frame.
    """

    scale: float
    floor: float
    coverage: float
    lowest_coverage: float
    spearman: float | None
    frames: int
    molecules: int


def calibrate_forces(
    own: LoadedRuntime, partner: LoadedRuntime, dataset: Dataset, tell: Tell = tell_nobody
) -> ForceCalibration:
    """From labelled frames of molecules that neither student was trained on.

    Frames that a server would refuse to answer are left out.

    Raises:
        SettingsError: if the two do not know the same elements and lengths, or are one and the
            same, or there are no labels.
    """
    one, other = own.card, partner.card
    if (one.reach, one.elements) != (other.reach, other.elements) or one.digest == other.digest:
        raise SettingsError(
            f"received {other.name} {other.version} as the partner of {one.name} {one.version}; "
            "expected another student with the same elements and cutoffs"
        )
    found = predict_held_out(own, dataset, tell)
    dataset = found.dataset
    others = forces_of_partner(partner, dataset, tell)
    apart = disagreement(found.forces, others, dataset.n_atoms)
    errors = np.abs(found.forces - found.force_label)
    molecule = np.repeat(dataset.molecule_id, dataset.n_atoms)
    scale, floor = fit_sigma(apart, errors, molecule)
    sigma = np.hypot(scale * apart, floor)
    within = (errors <= _WITHIN * sigma[:, None]).mean(axis=1)
    starts = dataset.offsets[:-1]
    frame_sigma = np.sqrt(np.add.reduceat(sigma**2, starts) / dataset.n_atoms)
    return ForceCalibration(
        scale=scale,
        floor=floor,
        coverage=float(within.mean()),
        lowest_coverage=min(float(within[part].mean()) for part in _by_size(sigma)),
        spearman=rank_correlation(frame_sigma, found.frame_force_rmse()),
        frames=len(dataset),
        molecules=len(np.unique(dataset.molecule_id)),
    )


def fit_sigma(apart: Float, errors: Float, molecule: Int) -> tuple[float, float]:
    """Scale and floor (eV/Å) for disagreements ``apart`` [N] and errors of components [N, 3].

    ``molecule`` [N] says which atoms belong together.
    """
    _, row, counts = np.unique(molecule, return_inverse=True, return_counts=True)
    weight = 1.0 / counts[row]
    best = (np.inf, 1.0, 0.0)
    for floor in _FLOORS:
        scale = _scale(apart, errors, weight, floor)
        sigma = np.hypot(scale * apart, floor)
        within = (errors <= _WITHIN * sigma[:, None]).mean(axis=1)
        off = max(
            abs(np.average(within[part], weights=weight[part]) - COVERED)
            for part in _by_size(sigma)
        )
        best = min(best, (float(off), scale, float(floor)))
    return best[1], best[2]


def _scale(apart: Float, errors: Float, weight: Float, floor: float) -> float:
    """The smallest scale under which nine of ten errors are covered, by weight."""
    low, high = 0.0, 1e3
    for _ in range(50):
        middle = 0.5 * (low + high)
        sigma = np.hypot(middle * apart, floor)
        within = (errors <= _WITHIN * sigma[:, None]).mean(axis=1)
        if np.average(within, weights=weight) < COVERED:
            low = middle
        else:
            high = middle
    return high


def _by_size(sigma: Float) -> list[Int]:
    """The indices of ``sigma`` in fifths, from the smallest to the largest."""
    return np.array_split(np.argsort(sigma, kind="stable"), _BINS)
