"""What is kept of a run of many molecules: energies at every n-th step, and a few frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forcegate_trainer.dynamics.motion import Motion

__all__ = ["KeptFrame", "Recording"]

Float = npt.NDArray[np.float64]


class KeptFrame(NamedTuple):
    """``positions`` [n, 3] in Å, ``energy`` in eV, ``forces`` [n, 3] in eV/Å."""

    positions: Float
    energy: float
    forces: Float


class Recording:
    """Energies of ``molecules`` molecules at steps 0, ``every``, 2 ``every``, … up to ``steps``."""

    def __init__(self, molecules: int, steps: int, every: int) -> None:
        self._every = every
        shape = (steps // every + 1, molecules)
        self._potential = np.full(shape, np.nan)
        self._kinetic = np.full(shape, np.nan)
        self._frames: list[Motion] = []

    def note(self, step: int, motion: Motion) -> None:
        """Keep the energies of all molecules of ``motion`` if this step is to be recorded."""
        row, rest = divmod(step, self._every)
        if not rest:
            self._potential[row, motion.members] = motion.energies
            self._kinetic[row, motion.members] = motion.kinetic_energies

    def keep_frames(self, motion: Motion) -> None:
        """Keep where all molecules of ``motion`` are."""
        self._frames.append(motion)

    def series(self, member: int, timestep_fs: float) -> tuple[Float, Float, Float]:
        """Times in ps, potential and kinetic energies in eV, each [S], while it was there."""
        there = np.isfinite(self._potential[:, member])
        times: Float = np.flatnonzero(there).astype(np.float64) * self._every * timestep_fs / 1000.0
        return times, self._potential[there, member], self._kinetic[there, member]

    def frames_of(self, member: int) -> Iterator[KeptFrame]:
        """The frames of one molecule, in order."""
        for motion in self._frames:
            for row in np.flatnonzero(motion.members == member).tolist():
                bounds = motion.batch.offsets
                where = slice(bounds[row], bounds[row + 1])
                yield KeptFrame(
                    motion.batch.positions[where],
                    float(motion.energies[row]),
                    motion.forces[where],
                )
