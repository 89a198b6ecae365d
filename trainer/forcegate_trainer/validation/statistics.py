"""Does one number rise with another, and is a predicted standard deviation worth anything?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import mannwhitneyu, spearmanr

__all__ = [
    "auroc",
    "calibration_bins",
    "energy_calibration",
    "gaussian_nll",
    "group_rms",
    "rank_correlation",
]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_FEWEST = 3


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """Spearman's ρ of two samples [n]; None below three values, or if either is constant."""
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(one) < _FEWEST or np.ptp(one) == 0.0 or np.ptp(other) == 0.0:
        return None
    return float(spearmanr(one, other).statistic)


def auroc(strange: npt.ArrayLike, normal: npt.ArrayLike) -> float | None:
    """How probably a strange value exceeds a normal one, ties counting half; None without values.

    The area under the ROC curve, U/(n₁n₂) of Mann and Whitney: 1 tells every pair apart, 0.5 none.
    """
    high, low = np.asarray(strange, dtype=np.float64), np.asarray(normal, dtype=np.float64)
    if not len(high) or not len(low):
        return None
    return float(mannwhitneyu(high, low).statistic / (len(high) * len(low)))


def gaussian_nll(error: Float, sigma: Float) -> float:
    """Mean negative log likelihood of ``error`` [F] under normal distributions of width ``sigma``.

    ½(error/σ)² + ln(σ√2π), both arguments in eV; lower is better, the zero depends on the unit.
    """
    return float(np.mean(0.5 * (error / sigma) ** 2 + np.log(sigma * np.sqrt(2 * np.pi))))


def group_rms(values: Float, groups: Int) -> Float:
    """RMS of ``values`` [F] in each group, ordered by the group's number."""
    _, owner = np.unique(groups, return_inverse=True)
    return np.asarray(np.sqrt(np.bincount(owner, weights=values**2) / np.bincount(owner)))


def energy_calibration(error: Float, sigma: Float, molecule: Int) -> dict[str, float | None]:
    """How ``sigma`` [F] (eV, positive) relates to the energy ``error`` [F] (eV).

    Frames belong to ``molecule`` [F]; frames of one molecule share much of their error, so the
    correlation over molecules is the harder one. Two likelihoods have one parameter fitted to these
    very errors, so that their difference is what the variation of σ tells, and nothing else: one σ
    for all, and σ times one factor. None where a correlation is not defined.
    """
    scale = float(np.sqrt(np.mean((error / sigma) ** 2)))
    constant = float(np.sqrt(np.mean(error**2)))
    fitted = scale > 0.0 and constant > 0.0
    return {
        "rms_error_over_sigma": scale,
        "spearman_error_sigma": rank_correlation(np.abs(error), sigma),
        "spearman_error_sigma_molecules": rank_correlation(
            group_rms(error, molecule), group_rms(sigma, molecule)
        ),
        "nll": gaussian_nll(error, sigma),
        "nll_sigma_times_best_factor": gaussian_nll(error, scale * sigma) if fitted else None,
        "nll_best_constant_sigma": (
            gaussian_nll(error, np.full(len(error), constant)) if fitted else None
        ),
        "best_constant_sigma_ev": constant,
    }


def calibration_bins(error: Float, sigma: Float, count: int = 10) -> list[dict[str, float]]:
    """RMS of σ and of the error (eV) in bins of equal numbers of frames, by rising σ."""
    parts = np.array_split(np.argsort(sigma, kind="stable"), count)
    return [
        {
            "frames": len(part),
            "sigma_rms_ev": float(np.sqrt(np.mean(sigma[part] ** 2))),
            "error_rms_ev": float(np.sqrt(np.mean(error[part] ** 2))),
        }
        for part in parts
        if len(part)
    ]
