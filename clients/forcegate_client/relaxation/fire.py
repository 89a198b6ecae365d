"""FIRE for many structures at once: the arithmetic of one step, without a loop over structures.

Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), in the form, order and parameters of
``ase.optimize.FIRE``: a structure takes the same path here as there, to rounding. Every sum is
over the atoms of one structure, so that its path does not depend on what moves beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import segments

__all__ = ["Fire", "Motion", "step", "sum_per_structure"]

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fire:
    """The parameters, under the names of the paper; the defaults are those of ASE.

    ``dt`` and ``dt_max`` are in ASE's unit of time for atoms of mass one, ``max_move`` in Å is the
    longest step, as the norm over all coordinates of a structure.
    """

    dt: float = 0.1
    dt_max: float = 1.0
    max_move: float = 0.2
    n_min: int = 5
    f_inc: float = 1.1
    f_dec: float = 0.5
    alpha: float = 0.1
    f_alpha: float = 0.99


@dataclass
class Motion:
    """How B structures of N atoms in all are moving.

    ``n_atoms`` [B], ``velocities`` [N, 3], ``dt`` [B], ``alpha`` [B], ``downhill`` [B] (steps in a
    row along the force), ``started`` [B] (whether there was a step before).
    """

    n_atoms: Int
    velocities: Float
    dt: Float
    alpha: Float
    downhill: Int
    started: Bool

    @classmethod
    def at_rest(cls, n_atoms: Int, fire: Fire) -> Motion:
        """Structures before their first step."""
        size = len(n_atoms)
        return cls(
            n_atoms=n_atoms,
            velocities=np.zeros((int(n_atoms.sum()), 3)),
            dt=np.full(size, fire.dt),
            alpha=np.full(size, fire.alpha),
            downhill=np.zeros(size, dtype=np.int64),
            started=np.zeros(size, dtype=np.bool_),
        )

    def select(self, chosen: Int) -> Motion:
        """Structures ``chosen`` [K], in that order."""
        n_atoms = self.n_atoms[chosen]
        atoms = segments((np.cumsum(self.n_atoms) - self.n_atoms)[chosen], n_atoms)
        return Motion(
            n_atoms,
            self.velocities[atoms],
            self.dt[chosen],
            self.alpha[chosen],
            self.downhill[chosen],
            self.started[chosen],
        )

    def joined(self, other: Motion) -> Motion:
        """These structures, then those of ``other``."""
        return Motion(
            *(
                np.concatenate([getattr(self, field.name), getattr(other, field.name)])
                for field in fields(Motion)
            )
        )


def step(motion: Motion, forces: Float, fire: Fire) -> Float:
    """How far each atom moves, [N, 3] in Å, under ``forces`` [N, 3] in eV/Å; changes ``motion``.

    Every structure has at least one atom.
    """
    n_atoms, velocities = motion.n_atoms, motion.velocities
    power = _dot(forces, velocities, n_atoms)
    along = motion.started & (power > 0.0)
    against = motion.started & ~along
    # Velocity turns towards the force where it led downhill, by the old α, and stops elsewhere.
    # Where there is no force there is no power: nothing is divided by zero.
    strength = np.sqrt(_dot(forces, forces, n_atoms))
    speed = np.sqrt(_dot(velocities, velocities, n_atoms))
    turn = np.divide(motion.alpha * speed, strength, out=np.zeros_like(speed), where=along)
    keep = np.where(along, 1.0 - motion.alpha, 0.0)
    velocities = _per_atom(keep, n_atoms) * velocities + _per_atom(turn, n_atoms) * forces

    faster = along & (motion.downhill > fire.n_min)
    dt = np.where(faster, np.minimum(motion.dt * fire.f_inc, fire.dt_max), motion.dt)
    dt = np.where(against, motion.dt * fire.f_dec, dt)
    alpha = np.where(faster, motion.alpha * fire.f_alpha, motion.alpha)
    motion.alpha = np.where(against, fire.alpha, alpha)
    motion.downhill = np.where(along, motion.downhill + 1, 0)
    motion.started = np.ones_like(motion.started)
    motion.dt = dt

    dt_of_atom = _per_atom(dt, n_atoms)
    velocities += dt_of_atom * forces
    motion.velocities = velocities
    moves = dt_of_atom * velocities
    length = np.sqrt(_dot(moves, moves, n_atoms))
    too_long = length > fire.max_move
    shrink = np.divide(fire.max_move, length, out=np.ones_like(length), where=too_long)
    return moves * _per_atom(shrink, n_atoms)


def sum_per_structure(values: Float, n_atoms: Int) -> Float:
    """Sums [B] of ``values`` [N] over the atoms of each structure, none of which is empty."""
    sums: Float = np.add.reduceat(values, np.cumsum(n_atoms) - n_atoms)
    return sums


def _dot(a: Float, b: Float, n_atoms: Int) -> Float:
    return sum_per_structure(np.einsum("ij,ij->i", a, b), n_atoms)


def _per_atom(values: Float, n_atoms: Int) -> Float:
    return np.repeat(values, n_atoms)[:, None]
