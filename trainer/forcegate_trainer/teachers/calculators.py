"""ASE calculators and exported students as teachers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase.calculators.calculator import BaseCalculator, CalculatorError

from forcegate_client.dataset import TeacherRecord
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.runtime import LoadedRuntime
from forcegate_trainer.errors import LabelError
from forcegate_trainer.simulation.potential import BatchPotential, atoms_of
from forcegate_trainer.teachers.interface import Answer, Reply, Teacher

__all__ = ["CalculatorTeacher", "StudentTeacher"]

Int = npt.NDArray[np.int64]

# As many molecules as still fit into a processor's caches.
_STUDENT_BATCH = 64


class CalculatorTeacher(Teacher):
    """Any ASE calculator, one structure after the other, a fresh one for each molecule."""

    def __init__(self, record: TeacherRecord, factory: Callable[[], BaseCalculator]) -> None:
        self.record = record
        self._factory = factory

    def calculator(self) -> BaseCalculator:
        """A fresh one."""
        return self._factory()

    def label(self, structures: StructureBatch, members: Int) -> Iterator[Reply]:
        """Each structure by itself; one that fails costs nothing but itself."""
        calculator, molecule = self.calculator(), None
        for row, member in enumerate(members.tolist()):
            if member != molecule:
                # No electronic state is carried from one molecule to another.
                calculator, molecule = self.calculator(), member
            reply = _calculate(structures, row, calculator)
            if isinstance(reply, LabelError):
                # After a failure the electronic state is no start for the next frame.
                molecule = None
            yield reply


class StudentTeacher(Teacher):
    """An exported student as the teacher of a smaller one, through its serving runtime.

    Raises:
        ModelRefused: if the files in ``folder`` do not match the card.
    """

    frames_of_a_piece = 1024

    def __init__(self, folder: Path) -> None:
        card = ModelCard.load(folder)
        name = f"student:{card.name}/{card.version}"
        # Labels of a student are known by its weights, and its own teacher.
        self.record = TeacherRecord(name, card.digest, {"teacher": card.teacher})
        self._folder = folder

    @cached_property
    def _runtime(self) -> LoadedRuntime:
        # Here because what serves a student takes seconds to import.
        from forcegate_trainer.simulation.exported import opened

        return opened(self._folder)

    def calculator(self) -> BaseCalculator:
        """The student for one structure at a time."""
        from forcegate_trainer.simulation.exported import RuntimeCalculator

        return RuntimeCalculator(self._runtime)

    def potential(self) -> BatchPotential:
        """The student for many structures at once."""
        from forcegate_trainer.simulation.exported import RuntimePotential

        return RuntimePotential(self._runtime)

    def label(self, structures: StructureBatch, members: Int) -> Iterator[Reply]:
        """Many structures at a time."""
        potential = self.potential()
        for start in range(0, len(structures), _STUDENT_BATCH):
            chosen = np.arange(start, min(start + _STUDENT_BATCH, len(structures)))
            part = structures.select(chosen)
            found = potential(part, members[chosen])
            bounds = part.offsets
            for row in range(len(part)):
                where = slice(bounds[row], bounds[row + 1])
                yield Answer(float(found.energies[row]), found.forces[where])


def _calculate(structures: StructureBatch, row: int, calculator: BaseCalculator) -> Reply:
    atoms = atoms_of(structures, row)
    atoms.calc = calculator
    try:
        forces = np.asarray(atoms.get_forces(), dtype=np.float64)
        energy = float(atoms.get_potential_energy())
    except CalculatorError as error:
        reason = "scf_not_converged" if "not converged" in str(error) else "teacher_failed"
        return LabelError(f"the teacher failed: {error}", reason)
    results = calculator.results
    charges = results.get("charges")
    return Answer(
        energy,
        forces,
        charges=None if charges is None else np.asarray(charges, dtype=np.float64),
        homo_lumo_gap=results.get("homo_lumo_gap"),
    )
