"""Where many molecules are and how they move; who flies apart leaves, the others go on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from ase import units
from ase.data import atomic_masses

from forcegate_client.structures import StructureBatch
from forcegate_trainer.simulation.potential import BatchPotential, Evaluation

__all__ = ["MAX_FORCE", "Motion", "begin", "thermal_velocities"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

# A molecule that flies apart has left what any of the methods was made for.
MAX_FORCE = 200.0  # eV/Å


@dataclass
class Motion:
    """``B`` molecules with ``N`` atoms in all, at one moment.

    ``velocities`` [N, 3] in Å per ASE time unit; ``energies`` [B] in eV, ``forces`` [N, 3] in
    eV/Å and ``novelty`` [B] at the positions of ``batch``; ``members`` [B] numbers the molecules
    as they were at the start of the run; ``masses`` [N] in u; atomic ``charges`` [N] in e, None
    where the method tells none.
    """

    batch: StructureBatch
    velocities: Float
    energies: Float
    forces: Float
    novelty: Float
    members: Int
    masses: Float
    charges: Float | None = None

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def kinetic_energies(self) -> Float:
        """[B] in eV."""
        return self._per_molecule(0.5 * self.masses * (self.velocities**2).sum(axis=1))

    @property
    def net_charges(self) -> Float | None:
        """What the charges of each molecule sum to [B], in e."""
        return None if self.charges is None else self._per_molecule(self.charges)

    def temperatures(self, n_dof: Int) -> Float:
        """[B] in K: T = 2K / (k_B n_dof), for ``n_dof`` [B] degrees of freedom."""
        return np.asarray(2.0 * self.kinetic_energies / (units.kB * n_dof))

    def sane(self) -> Bool:
        """[B]: energy finite and no force component beyond ``MAX_FORCE``."""
        largest = np.abs(self.forces).max(axis=1)
        worst = np.maximum.reduceat(largest, self.batch.offsets[:-1])
        # Written so that NaN is not sane.
        sane: Bool = (worst < MAX_FORCE) & np.isfinite(self.energies)
        return sane

    def keep(self, chosen: Bool) -> Motion:
        """The molecules of mask ``chosen`` [B]."""
        atoms = np.repeat(chosen, self.batch.n_atoms)
        return Motion(
            batch=self.batch.select(np.flatnonzero(chosen)),
            velocities=self.velocities[atoms],
            energies=self.energies[chosen],
            forces=self.forces[atoms],
            novelty=self.novelty[chosen],
            members=self.members[chosen],
            masses=self.masses[atoms],
            charges=None if self.charges is None else self.charges[atoms],
        )

    def moved(self, positions: Float, potential: BatchPotential) -> Motion:
        """The same molecules at other positions [N, 3], evaluated there."""
        batch = replace(self.batch, positions=positions)
        found: Evaluation = potential(batch, self.members)
        return replace(
            self,
            batch=batch,
            energies=found.energies,
            forces=found.forces,
            novelty=found.novelty,
            charges=found.charges,
        )

    def _per_molecule(self, values: Float) -> Float:
        return np.asarray(np.add.reduceat(values, self.batch.offsets[:-1]))


def begin(batch: StructureBatch, potential: BatchPotential, velocities: Float) -> Motion:
    """Molecules with these velocities [N, 3], evaluated where they are.

    Every structure has at least one atom.
    """
    members = np.arange(len(batch), dtype=np.int64)
    found = potential(batch, members)
    return Motion(
        batch=batch,
        velocities=velocities.copy(),
        energies=found.energies,
        forces=found.forces,
        novelty=found.novelty,
        members=members,
        masses=np.asarray(atomic_masses[batch.atomic_numbers], dtype=np.float64),
        charges=found.charges,
    )


def thermal_velocities(
    batch: StructureBatch, temperatures: Float, rng: np.random.Generator
) -> Float:
    """Maxwell–Boltzmann velocities [N, 3] at ``temperatures`` [B] (K), no overall translation.

    From a relaxed structure half of the kinetic energy goes into the bonds: give twice the
    temperature that is wanted.
    """
    masses = atomic_masses[batch.atomic_numbers][:, None]
    kelvin = np.repeat(temperatures, batch.n_atoms)[:, None]
    velocities = rng.standard_normal(batch.positions.shape) * np.sqrt(units.kB * kelvin / masses)
    starts = batch.offsets[:-1]
    momentum = np.add.reduceat(masses * velocities, starts, axis=0)
    mass = np.add.reduceat(masses, starts, axis=0)
    return np.asarray(velocities - np.repeat(momentum / mass, batch.n_atoms, axis=0))
