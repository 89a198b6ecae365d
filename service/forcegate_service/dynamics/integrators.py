"""One step at a time, for runtimes that only evaluate: the formulas of the engine, in numpy.

A method moves a run's positions before it is evaluated, and finishes the step after. Noise is that
of the engine: the same numbers for the same seed, stream, step and atom.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

import numpy as np
import numpy.typing as npt
from ase import units

from forcegate_client.relaxation.fire import Fire, Motion
from forcegate_client.relaxation.fire import step as fire_step
from forcegate_service.dynamics.run import KELVIN_EV, Run

__all__ = ["LBFGS", "Descent", "Dynamics", "Fires", "Stepper", "normals", "stepper_of"]

Float = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]

# 1 eV/u in (Å/fs)².
_ACCELERATION = units.fs**2
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


class Stepper(Protocol):
    """A method that moves a run."""

    def before(self, run: Run) -> None:
        """Move to where the run is to be evaluated."""

    def after(self, run: Run) -> None:
        """The run knows its forces there: the step is done."""


class Dynamics:
    """Velocity Verlet, with Langevin's thermostat in the middle (BAOAB) if there is a friction."""

    def before(self, run: Run) -> None:
        """Kick, half of the drift, noise, the other half."""
        request, state = run.request, run.state
        half = 0.5 * request.timestep_fs
        velocities = state.velocities + self._push(run) * state.forces
        positions = state.positions + half * velocities
        if request.method == "langevin":
            keep = math.exp(-request.friction_per_fs * request.timestep_fs)
            lost = math.sqrt(1.0 - keep * keep)
            thermal = np.sqrt(KELVIN_EV * request.temperature_k * _ACCELERATION / run.masses)
            noise = normals(request.seed, state.step, run.stream, len(run.numbers))
            renewed = keep * velocities + (lost * thermal)[:, None] * noise
            velocities = np.where(run.fixed[:, None], velocities, renewed)
        state.positions, state.velocities = positions + half * velocities, velocities

    def after(self, run: Run) -> None:
        """The second kick."""
        run.state.velocities = run.state.velocities + self._push(run) * run.state.forces
        run.state.step += 1

    def _push(self, run: Run) -> Float:
        push = 0.5 * run.request.timestep_fs * _ACCELERATION / run.masses
        return np.where(run.fixed, 0.0, push)[:, None]


class Descent:
    """What relaxations have in common: they have arrived when no free atom feels much."""

    def before(self, run: Run) -> None:
        """Along what the method makes of the forces."""
        forces = np.where(run.fixed[:, None], 0.0, run.state.forces)
        run.state.positions = run.state.positions + self.move(run, forces)

    def after(self, run: Run) -> None:
        """Look whether it has arrived."""
        run.state.step += 1
        run.converged = run.fmax < run.request.fmax

    def move(self, run: Run, forces: Float) -> Float:
        """How far each atom moves, [n, 3] in Å."""
        raise NotImplementedError


class Fires(Descent):
    """FIRE, as ASE's."""

    def __init__(self, run: Run) -> None:
        self._fire = Fire()
        self._motion = Motion.at_rest(np.array([len(run.numbers)]), self._fire)

    def move(self, run: Run, forces: Float) -> Float:
        """See ``Descent``."""
        return fire_step(self._motion, forces, self._fire)


class LBFGS(Descent):
    """Limited-memory BFGS (Nocedal 1980, doi:10.1090/S0025-5718-1980-0572855-7) without a line
    search, from a guess of 70 eV/Å² for all curvatures, with ASE's longest step of an atom.
    """

    _MEMORY, _CURVATURE, _LONGEST = 100, 70.0, 0.2

    def __init__(self) -> None:
        self._pairs: deque[tuple[Float, Float, float]] = deque(maxlen=self._MEMORY)
        self._last: tuple[Float, Float] | None = None

    def move(self, run: Run, forces: Float) -> Float:
        """See ``Descent``."""
        here = run.state.positions, forces
        if self._last is not None:
            moved, softer = here[0] - self._last[0], self._last[1] - here[1]
            along = float(np.vdot(moved, softer))
            # A curvature that is not positive tells nothing of a minimum.
            if along > 1e-12:
                self._pairs.append((moved, softer, 1.0 / along))
        self._last = here
        direction = -forces
        weights = []
        for moved, softer, inverse in reversed(self._pairs):
            weights.append(inverse * float(np.vdot(moved, direction)))
            direction = direction - weights[-1] * softer
        direction = direction / self._CURVATURE
        for (moved, softer, inverse), weight in zip(self._pairs, reversed(weights), strict=True):
            direction = direction + moved * (weight - inverse * float(np.vdot(softer, direction)))
        step = -direction
        if np.vdot(step, forces) <= 0.0:
            # Uphill: what was learned does not hold here.
            self._pairs.clear()
            step = forces / self._CURVATURE
        longest = float(np.sqrt((step**2).sum(axis=1).max(initial=0.0)))
        return step * min(1.0, self._LONGEST / longest) if longest else step


def stepper_of(run: Run) -> Stepper:
    """A new one, at its begin, for the method that a run is asked to go by."""
    if run.request.task == "dynamics":
        return Dynamics()
    return Fires(run) if run.request.method == "fire" else LBFGS()


def normals(seed: int, step: int, stream: int, atoms: int) -> Float:
    """Standard normal numbers [atoms, 3], those of the engine.

    Philox4x32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405), then Box and Muller.
    """
    counter = [
        np.arange(atoms, dtype=np.uint64),
        *(
            np.full(atoms, word & 0xFFFFFFFF, dtype=np.uint64)
            for word in (stream, step, step >> 32)
        ),
    ]
    low, high = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
    for _ in range(10):
        a = np.uint64(0xD2511F53) * counter[0]
        b = np.uint64(0xCD9E8D57) * counter[2]
        counter = [
            (b >> _SHIFT) ^ counter[1] ^ np.uint64(low),
            b & _LOW,
            (a >> _SHIFT) ^ counter[3] ^ np.uint64(high),
            a & _LOW,
        ]
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    uniform = (np.stack(counter).astype(np.float64) + 0.5) * 2.0**-32
    radius = np.sqrt(-2.0 * np.log(uniform[[0, 0, 2]]))
    angle = 2.0 * np.pi * uniform[[1, 1, 3]]
    found: Float = (radius * np.stack([np.cos(angle[0]), np.sin(angle[1]), np.cos(angle[2])])).T
    return found
