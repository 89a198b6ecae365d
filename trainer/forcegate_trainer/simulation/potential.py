"""What moves many molecules at once, and any ASE calculator as that."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculatorError

from forcegate_client.structures import StructureBatch

__all__ = [
    "BatchPotential",
    "CalculatorPotential",
    "Evaluation",
    "atoms_of",
]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


class Evaluation(NamedTuple):
    """``energies`` [B] in eV, ``forces`` [N, 3] in eV/Å; ``novelty`` [B], the largest of an atom.

    What failed for one structure is NaN for that structure. ``novelty`` is NaN where the method
    does not tell it; atomic ``charges`` [N] in e and the energy's ``uncertainty`` [B] in eV are
    None where it tells none.
    """

    energies: Float
    forces: Float
    novelty: Float
    charges: Float | None = None
    uncertainty: Float | None = None


class BatchPotential(Protocol):
    """Energies and forces of many structures."""

    def __call__(self, batch: StructureBatch, members: Int) -> Evaluation:
        """Evaluate ``batch``; ``members`` [B] tells which molecules of a run its structures are.

        A molecule keeps its number for the whole run, also when others have left it.
        """


class CalculatorPotential:
    """ASE calculators, a fresh one for each molecule, evaluated one after the other.

    A calculator that raises has failed for its molecule alone; the next call makes a new one.
    """

    def __init__(self, make: Callable[[], BaseCalculator]) -> None:
        self._make = make
        self._molecules: dict[int, Atoms] = {}

    def __call__(self, batch: StructureBatch, members: Int) -> Evaluation:
        """Evaluate the structures in order."""
        energies = np.full(len(batch), np.nan)
        forces = np.full(batch.positions.shape, np.nan)
        charges = np.full(batch.total_atoms, np.nan)
        bounds = batch.offsets
        for row, member in enumerate(members.tolist()):
            where = slice(bounds[row], bounds[row + 1])
            atoms = self._molecules.get(member)
            # Another run may number other molecules alike.
            if (
                atoms is None
                or atoms.info["charge"] != batch.charges[row]
                or not np.array_equal(atoms.numbers, batch.atomic_numbers[where])
            ):
                atoms = atoms_of(batch, row)
                atoms.calc = self._make()
                self._molecules[member] = atoms
            atoms.positions[:] = batch.positions[where]
            try:
                forces[where] = atoms.get_forces()
                energies[row] = atoms.get_potential_energy()
                charges[where] = atoms.calc.results.get("charges", np.nan)
            except CalculatorError:
                del self._molecules[member]
        told = None if np.isnan(charges).all() else charges
        return Evaluation(energies, forces, np.full(len(batch), np.nan), told)


def atoms_of(structures: StructureBatch, row: int) -> Atoms:
    """One structure for an ASE calculator, which reads the net charge in one of three ways."""
    atoms = structures.select([row]).to_atoms()[0]
    charge = int(structures.charges[row])
    atoms.info["charge"] = charge
    atoms.info["multiplicity"] = atoms.info["spin"] = int(structures.multiplicities[row])
    if charge:
        atoms.set_initial_charges([charge, *[0] * (len(atoms) - 1)])
    return atoms
