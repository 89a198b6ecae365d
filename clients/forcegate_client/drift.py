"""Drift of the total energy in a microcanonical run, with an honest error bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["N_BLOCKS", "Drift", "energy_drift", "line_through"]

N_BLOCKS = 20
# A line through fewer points says nothing about their scatter.
MIN_BLOCKS = 4


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

    def __str__(self) -> str:
        return (
            f"{self.slope_mev_per_atom_per_ps:+.4f} ± "
            f"{self.standard_error_mev_per_atom_per_ps:.4f} meV/atom/ps"
        )


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
