"""The population stability index: how far one distribution is from another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["population_stability_index"]

# The part of each distribution that is spread over all bins alike, so that an empty bin has a
# logarithm: a tenth of the sample in a bin that the other one never fills adds 0.7 to 0.8.
_SMOOTHING = 1e-3


def population_stability_index(counts: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """PSI = Σ (p − q) ln(p / q) over the bins, with p and q the shares of both counts [K].

    Known from credit scoring (Siddiqi 2006, "Credit Risk Scorecards", where less than 0.1 is
    called stable and more than 0.25 a shift), and the same as Jeffreys' divergence, the sum of the
    Kullback-Leibler divergences both ways. It is zero for equal shares and else positive, does not
    depend on which is which, nor on how much was counted; but of n samples of the *same*
    distribution chance alone makes about (K − 1)/n (Yurdakul and Naranjo 2020,
    doi:10.21314/JRMV.2020.227). Bins without counts: p becomes (1 − ε) p + ε/K, with ε = 0.001.

    Raises:
        ValueError: if one of them holds nothing, or they have different bins.
    """
    mine, theirs = np.asarray(counts, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if mine.shape != theirs.shape or not mine.sum() or not theirs.sum():
        raise ValueError(
            f"counts of {mine.shape} and {theirs.shape} bins with {mine.sum():g} and "
            f"{theirs.sum():g} values; expected the same bins, and something in them"
        )
    p, q = _shares(mine), _shares(theirs)
    return float(np.sum((p - q) * np.log(p / q)))


def _shares(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shares: npt.NDArray[np.float64] = (1.0 - _SMOOTHING) * counts / counts.sum()
    return shares + _SMOOTHING / len(counts)
