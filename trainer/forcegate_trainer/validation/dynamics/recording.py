"""What is kept of a run of many molecules: energies and charges in time, and a few frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from forcegate_trainer.simulation.motion import Motion

__all__ = ["KeptFrame", "Recording"]

Float = npt.NDArray[np.float64]


class KeptFrame(NamedTuple):
    """``positions`` [n, 3] in Å, ``energy`` in eV, ``forces`` [n, 3] in eV/Å."""

    positions: Float
    energy: float
    forces: Float


class Recording:
    """Energies and net charges of ``molecules`` molecules at every ``every``-th of ``steps``."""

    def __init__(self, molecules: int, steps: int, every: int) -> None:
        self._every = every
        shape = (steps // every + 1, molecules)
        self._potential = np.full(shape, np.nan)
        self._kinetic = np.full(shape, np.nan)
        self._net_charge = np.full(shape, np.nan)
        self._frames: dict[int, list[KeptFrame]] = {}

    def note(self, step: int, motion: Motion) -> None:
        """Keep what all molecules of ``motion`` have if this step is to be recorded."""
        row, rest = divmod(step, self._every)
        if not rest:
            self._potential[row, motion.members] = motion.energies
            self._kinetic[row, motion.members] = motion.kinetic_energies
            if motion.net_charges is not None:
                self._net_charge[row, motion.members] = motion.net_charges

    def keep_frames(self, motion: Motion) -> None:
        """Keep where all molecules of ``motion`` are."""
        bounds = motion.batch.offsets
        for row, member in enumerate(motion.members.tolist()):
            where = slice(bounds[row], bounds[row + 1])
            self._frames.setdefault(member, []).append(
                KeptFrame(
                    motion.batch.positions[where].copy(),
                    float(motion.energies[row]),
                    motion.forces[where].copy(),
                )
            )

    def series(self, member: int, timestep_fs: float) -> tuple[Float, Float, Float]:
        """Times in ps, potential and kinetic energies in eV, each [S], while it was there."""
        there = np.isfinite(self._potential[:, member])
        times: Float = np.flatnonzero(there).astype(np.float64) * self._every * timestep_fs / 1000.0
        return times, self._potential[there, member], self._kinetic[there, member]

    def net_charges(self, member: int) -> Float:
        """What its charges sum to, in e, at the times of ``series`` [S]; NaN where not told."""
        there = np.isfinite(self._potential[:, member])
        return np.asarray(self._net_charge[there, member])

    def frames_of(self, member: int) -> Sequence[KeptFrame]:
        """The frames of one molecule, in order."""
        return self._frames.get(member, [])

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything that was recorded, as arrays."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "potential": self._potential,
            "kinetic": self._kinetic,
            "net_charge": self._net_charge,
        }
        for member, frames in self._frames.items():
            for name, values in zip(KeptFrame._fields, zip(*frames, strict=True), strict=True):
                arrays[f"frame_{name}_{member}"] = np.array(values)
        return arrays

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over what ``state`` gave."""
        self._potential[...] = arrays["potential"]
        self._kinetic[...] = arrays["kinetic"]
        self._net_charge[...] = arrays["net_charge"]
        self._frames = {}
        for member in range(self._potential.shape[1]):
            if f"frame_energy_{member}" in arrays:
                columns = [arrays[f"frame_{name}_{member}"] for name in KeptFrame._fields]
                self._frames[member] = [
                    KeptFrame(positions, float(energy), forces)
                    for positions, energy, forces in zip(*columns, strict=True)
                ]
