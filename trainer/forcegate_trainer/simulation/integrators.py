"""Steps in time: velocity Verlet, and Langevin dynamics by the BAOAB splitting.

Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34. Every molecule moves as it would alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from ase import units

from forcegate_trainer.simulation.motion import Motion
from forcegate_trainer.simulation.potential import BatchPotential

__all__ = ["DEFAULT_FRICTION_PER_FS", "langevin", "velocity_verlet"]

Float = npt.NDArray[np.float64]

DEFAULT_FRICTION_PER_FS = 0.02

# Told after each step: how many were done, and the molecules that are left.
OnStep = Callable[[int, Motion], None]


def velocity_verlet(
    motion: Motion,
    potential: BatchPotential,
    *,
    timestep_fs: float,
    steps: int,
    on_step: OnStep | None = None,
) -> Motion:
    """Newton's equations for ``steps`` steps; molecules that blow up are left behind."""
    dt = timestep_fs * units.fs
    for step in range(1, steps + 1):
        half = motion.velocities + 0.5 * dt * motion.forces / motion.masses[:, None]
        motion.velocities = half
        motion = motion.moved(motion.batch.positions + dt * half, potential)
        motion.velocities = half + 0.5 * dt * motion.forces / motion.masses[:, None]
        motion = _without_lost(motion)
        if on_step is not None:
            on_step(step, motion)
        if not len(motion):
            break
    return motion


def langevin(
    motion: Motion,
    potential: BatchPotential,
    temperatures: Float,
    *,
    steps: int,
    rng: np.random.Generator,
    timestep_fs: float = 1.0,
    friction_per_fs: float = DEFAULT_FRICTION_PER_FS,
    on_step: OnStep | None = None,
) -> Motion:
    """Langevin dynamics at ``temperatures`` (K) for ``steps`` steps.

    ``temperatures`` holds one number for each member that the run began with; molecules that
    blow up are left behind.
    """
    dt = timestep_fs * units.fs
    decay = np.exp(-friction_per_fs * timestep_fs)
    for step in range(1, steps + 1):
        masses = motion.masses[:, None]
        kelvin = np.repeat(temperatures[motion.members], motion.batch.n_atoms)[:, None]
        kick = np.sqrt((1.0 - decay**2) * units.kB * kelvin / masses)
        velocities = motion.velocities + 0.5 * dt * motion.forces / masses
        positions = motion.batch.positions + 0.5 * dt * velocities
        velocities = decay * velocities + kick * rng.standard_normal(velocities.shape)
        motion.velocities = velocities
        motion = motion.moved(positions + 0.5 * dt * velocities, potential)
        motion.velocities = velocities + 0.5 * dt * motion.forces / masses
        motion = _without_lost(motion)
        if on_step is not None:
            on_step(step, motion)
        if not len(motion):
            break
    return motion


def _without_lost(motion: Motion) -> Motion:
    sane = motion.sane()
    return motion if sane.all() else motion.keep(sane)
