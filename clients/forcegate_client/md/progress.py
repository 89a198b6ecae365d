"""What is kept of a run that has no end yet: block means, in memory that does not grow."""

from __future__ import annotations

import math

import numpy as np

from forcegate_client.md.drift import N_BLOCKS, SHORTEST_DRIFT_PS, Drift, line_through

__all__ = ["RunProgress"]

_MOST_BLOCKS = 2 * N_BLOCKS


class RunProgress:
    """Adds up samples in equal blocks; when there are too many, neighbours become one.

    So there are between 20 and 40 blocks of a long run, whatever its length, and a sample costs
    four additions. ``energy`` is the conserved one in eV, NaN where nothing is conserved.
    """

    def __init__(self, n_atoms: int) -> None:
        self.n_atoms = n_atoms
        self.n_samples = 0
        self._first = (math.nan, math.nan)
        self._last_ps = math.nan
        self._per_block = 1
        # Of each complete block the mean time (ps), energy (eV, since the start), temperature (K).
        self._blocks: list[tuple[float, float, float]] = []
        self._sums = [0.0, 0.0, 0.0]
        self._in_sums = 0

    def add(self, time_ps: float, energy_ev: float, temperature_k: float) -> None:
        """One more sample."""
        if self.n_samples == 0:
            self._first = (time_ps, energy_ev)
        self.n_samples += 1
        self._last_ps = time_ps
        # Totals of 10⁴ eV would cost digits.
        for index, value in enumerate((time_ps, energy_ev - self._first[1], temperature_k)):
            self._sums[index] += value
        self._in_sums += 1
        if self._in_sums == self._per_block:
            time, energy, temperature = (value / self._in_sums for value in self._sums)
            self._blocks.append((time, energy, temperature))
            self._sums, self._in_sums = [0.0, 0.0, 0.0], 0
            if len(self._blocks) == _MOST_BLOCKS:
                self._halve()

    @property
    def duration_ps(self) -> float:
        """Time between the first and the last sample."""
        return self._last_ps - self._first[0] if self.n_samples else 0.0

    def drift(self) -> Drift | None:
        """Drift of the conserved energy, once the run is long enough to tell; else ``None``."""
        blocks = len(self._blocks)
        if blocks < N_BLOCKS or self.duration_ps < SHORTEST_DRIFT_PS:
            return None
        table = np.array(self._blocks)
        if not (np.isfinite(table).all() and (np.diff(table[:, 0]) > 0.0).all()):
            return None
        slope, error = line_through(table[:, 0], table[:, 1])
        scale = 1000.0 / self.n_atoms
        return Drift(slope * scale, error * scale, blocks, self.duration_ps)

    def mean_temperature_k(self) -> float | None:
        """Mean of the second half: in the first a thermostat may still be at work on the start."""
        if len(self._blocks) < 2:
            return None
        later = self._blocks[len(self._blocks) // 2 :]
        return sum(temperature for _, _, temperature in later) / len(later)

    def _halve(self) -> None:
        pairs = zip(self._blocks[::2], self._blocks[1::2], strict=True)
        self._blocks = [
            ((a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0, (a[2] + b[2]) / 2.0) for a, b in pairs
        ]
        self._per_block *= 2
