"""What every teacher can do: say energies and forces of many structures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase.calculators.calculator import BaseCalculator

from forcegate_client.dataset import TeacherRecord
from forcegate_client.structures import StructureBatch
from forcegate_trainer.errors import LabelError
from forcegate_trainer.simulation.potential import BatchPotential, CalculatorPotential

__all__ = ["Answer", "Reply", "Teacher"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

# So that a piece of labelling takes seconds: that is what an interruption costs.
FRAMES_OF_A_SLOW_PIECE = 96


@dataclass(frozen=True)
class Answer:
    """What a teacher says of one structure of ``n`` atoms; None where it does not tell.

    ``energy`` in eV; ``forces`` [n, 3] in eV/Å; atomic ``charges`` [n] in e; ``force_spread`` in
    eV/Å, its own disagreement on the force that it knows worst; ``homo_lumo_gap`` in eV.
    """

    energy: float
    forces: Float
    charges: Float | None = None
    force_spread: float | None = None
    homo_lumo_gap: float | None = None


# The answer, or why there is none.
Reply = Answer | LabelError


class Teacher(ABC):
    """A method that is right but slow, and what labels record of it."""

    record: TeacherRecord
    frames_of_a_piece = FRAMES_OF_A_SLOW_PIECE

    @abstractmethod
    def label(self, structures: StructureBatch, members: Int) -> Iterator[Reply]:
        """A reply for each structure, in order.

        ``members`` [B] tells which molecule a structure is of: what a method carries from one
        structure to the next of the same molecule, it must not carry to another.
        """

    @abstractmethod
    def calculator(self) -> BaseCalculator:
        """A fresh ASE calculator: energy in eV, forces in eV/Å."""

    def potential(self) -> BatchPotential:
        """The method for dynamics of many molecules side by side."""
        return CalculatorPotential(self.calculator)

    def separated(
        self, structures: StructureBatch, fragment: Int, part_charges: Sequence[Int]
    ) -> Iterator[Reply] | None:
        """Complexes as if their parts knew of each other by charges and dispersion alone.

        For a teacher that leaks charge between parts that are far from each other: the parts' own
        energies, the Coulomb energy of their charges, and dispersion. ``fragment`` [N] numbers the
        parts of each structure, ``part_charges`` holds their net charges [parts] in e. None: the
        method needs no such help.
        """
        return None
