"""Statistics of order: does one number rise with another, does it tell two groups apart?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import mannwhitneyu, spearmanr

__all__ = ["auroc", "rank_correlation"]

Float = npt.NDArray[np.float64]

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
