"""Langevin dynamics for sampling: the BAOAB splitting of Leimkuhler and Matthews (2013)."""

from dataclasses import dataclass

import numpy as np
from ase.data import atomic_masses
from ase.units import fs, kB
from numpy.typing import NDArray

from forcegate_trainer.data.sampling.forces import ForceFunction

TIMESTEP_FS = 1.0
FRICTION_PER_FS = 0.02
# A molecule that flies apart has left what any of the methods was made for.
MAX_FORCE = 200.0  # eV/Å


class TrajectoryBlewUpError(ArithmeticError):
    """The dynamics left the range of sane forces; the frame is to be dropped."""


@dataclass
class LangevinState:
    """Positions f64 [n,3] (Å) and velocities f64 [n,3] (Å per ASE time unit) of one molecule."""

    atomic_numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]


def start(
    atomic_numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    temperature: float,
    rng: np.random.Generator,
) -> LangevinState:
    """A state with thermal velocities at ``temperature`` (K) and no overall translation.

    From a relaxed structure half of the kinetic energy will go into the bonds: give twice the
    temperature that is wanted.
    """
    masses = atomic_masses[atomic_numbers]
    velocities = rng.standard_normal(positions.shape) * np.sqrt(kB * temperature / masses)[:, None]
    velocities -= masses @ velocities / masses.sum()
    return LangevinState(atomic_numbers, positions.copy(), velocities)


def run(
    state: LangevinState,
    forces: ForceFunction,
    temperature: float,
    steps: int,
    rng: np.random.Generator,
) -> LangevinState:
    """The state after ``steps`` steps of ``TIMESTEP_FS`` at ``temperature`` (K).

    Raises:
        TrajectoryBlewUpError: if a force is not finite or beyond ``MAX_FORCE``.
    """
    dt = TIMESTEP_FS * fs
    masses = atomic_masses[state.atomic_numbers][:, None]
    decay = np.exp(-FRICTION_PER_FS * TIMESTEP_FS)
    kick = np.sqrt((1.0 - decay**2) * kB * temperature / masses)
    noise = rng.standard_normal((steps, *state.positions.shape))
    positions, velocities = state.positions.copy(), state.velocities.copy()
    acceleration = _checked(forces(positions)) / masses
    for step in range(steps):
        velocities += 0.5 * dt * acceleration
        positions += 0.5 * dt * velocities
        velocities = decay * velocities + kick * noise[step]
        positions += 0.5 * dt * velocities
        acceleration = _checked(forces(positions)) / masses
        velocities += 0.5 * dt * acceleration
    return LangevinState(state.atomic_numbers, positions, velocities)


def _checked(forces: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = np.abs(forces).max()
    if not largest < MAX_FORCE:
        raise TrajectoryBlewUpError(f"a force component reached {largest} eV/Å")
    return forces
