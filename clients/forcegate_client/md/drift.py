"""Drift of the total energy in a microcanonical run, with an honest error bar."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

__all__ = [
    "DRIFT_LIMIT_MEV_PER_ATOM_PER_PS",
    "N_BLOCKS",
    "SHORTEST_DRIFT_PS",
    "Drift",
    "DriftVerdict",
    "energy_drift",
    "line_through",
]

DRIFT_LIMIT_MEV_PER_ATOM_PER_PS = 0.02
"""What validation allows at 300 K and 0.5 fs; |drift| + 2 standard errors are held against it."""

N_BLOCKS = 20
# A drift over less is mostly the beat of the fastest vibrations.
SHORTEST_DRIFT_PS = 1.0
# A line through fewer points says nothing about their scatter.
MIN_BLOCKS = 4


class DriftVerdict(StrEnum):
    """Whether a drift is within a limit; the value is the word for people."""

    PASS = "pass"  # noqa: S105 (a verdict, no password)
    FAIL = "fail"
    TOO_SHORT = "too short to tell"


@dataclass(frozen=True)
class Drift:
    """Slope of the total energy against time, with the standard error of that slope."""

    slope_mev_per_atom_per_ps: float
    standard_error_mev_per_atom_per_ps: float
    n_blocks: int
    duration_ps: float

    @property
    def bound_mev_per_atom_per_ps(self) -> float:
        """|slope| + 2 standard errors: the number that a limit is held against."""
        return abs(self.slope_mev_per_atom_per_ps) + 2.0 * self.standard_error_mev_per_atom_per_ps

    def passes(self, limit_mev_per_atom_per_ps: float) -> bool:
        """Whether the drift is shown to be within the limit; a large error bar does not pass."""
        return self.bound_mev_per_atom_per_ps <= limit_mev_per_atom_per_ps

    def verdict(
        self, limit_mev_per_atom_per_ps: float = DRIFT_LIMIT_MEV_PER_ATOM_PER_PS
    ) -> DriftVerdict:
        """Shown to be within the limit, shown to be beyond it, or neither."""
        if self.duration_ps < SHORTEST_DRIFT_PS:
            return DriftVerdict.TOO_SHORT
        if self.passes(limit_mev_per_atom_per_ps):
            return DriftVerdict.PASS
        least = abs(self.slope_mev_per_atom_per_ps) - 2.0 * self.standard_error_mev_per_atom_per_ps
        return DriftVerdict.FAIL if least > limit_mev_per_atom_per_ps else DriftVerdict.TOO_SHORT

    def __str__(self) -> str:
        text = (
            f"{self.slope_mev_per_atom_per_ps:+.4f} ± "
            f"{self.standard_error_mev_per_atom_per_ps:.4f} meV/atom/ps"
        )
        if self.duration_ps < SHORTEST_DRIFT_PS:
            return f"{text} ({self.duration_ps:.2g} ps: {DriftVerdict.TOO_SHORT})"
        return text


def energy_drift(
    times_ps: npt.ArrayLike,
    total_energies_eV: npt.ArrayLike,
    n_atoms: int,
    n_blocks: int = N_BLOCKS,
) -> Drift:
    """Least-squares slope through the means of consecutive blocks, and its standard error.

    Neighbouring steps of a trajectory are correlated, so the scatter of single energies about the
    line would make the error far too small; the scatter of block means is nearly independent.
    ``times_ps`` and ``total_energies_eV`` are [S]. Short series get fewer blocks.

    Raises:
        ValueError: if the lengths differ, a value is not finite, the times do not advance, or
            there are fewer than four samples.
    """
    times = np.asarray(times_ps, dtype=np.float64)
    energies = np.asarray(total_energies_eV, dtype=np.float64)
    if times.shape != energies.shape or times.ndim != 1:
        raise ValueError(f"times {times.shape} and energies {energies.shape}; expected equal [S]")
    blocks = min(n_blocks, len(times))
    if blocks < MIN_BLOCKS:
        raise ValueError(f"{blocks} samples or blocks; a drift needs at least {MIN_BLOCKS}")
    if not (np.isfinite(times).all() and np.isfinite(energies).all()):
        raise ValueError("times or energies are not finite; cut the series where it blew up")
    if not (np.diff(times) > 0.0).all():
        raise ValueError("times do not increase; expected one run in order")
    # The first energy is removed before averaging: totals of 10⁴ eV would cost digits.
    relative = energies - energies[0]
    t = np.array([part.mean() for part in np.array_split(times, blocks)])
    e = np.array([part.mean() for part in np.array_split(relative, blocks)])
    slope, error = line_through(t, e)
    scale = 1000.0 / n_atoms
    return Drift(slope * scale, error * scale, blocks, float(times[-1] - times[0]))


def line_through(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Least-squares slope of ``y`` against ``x``, both [P] with P > 2, and its standard error."""
    x = x - x.mean()
    slope = float(x @ y / (x @ x))
    residuals = y - y.mean() - slope * x
    return slope, float(np.sqrt(residuals @ residuals / (len(x) - 2) / (x @ x)))
