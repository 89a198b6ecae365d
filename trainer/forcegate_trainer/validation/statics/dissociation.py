"""Two molecules drawn apart: what binds them, and where the student goes blind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data.s22 import (
    create_s22_system,
    get_interaction_energy_cc,
    get_number_of_dimer_atoms,
)
from ase.units import kcal, mol

from forcegate_trainer.data.sampling.geometry import closest_contact
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.validation.points import student_points, teacher_points
from forcegate_trainer.validation.subject import Subject

__all__ = ["Dissociation", "DissociationSettings", "drawn_apart", "measure_dissociation"]

Float = npt.NDArray[np.float64]

_KCAL_PER_EV = mol / kcal


@dataclass(frozen=True)
class DissociationSettings:
    """``dimers`` are names of the S22 set (Jurečka et al. 2006) in ASE.

    The second molecule moves rigidly along the line of centers, so that the closest contact of the
    two passes through ``points`` values up to ``farthest`` (Å), from ``nearer`` (Å) below that of
    the S22 geometry.
    """

    dimers: tuple[str, ...] = (
        "Water_dimer",
        "Formic_acid_dimer",
        "Ammonia_dimer",
        "Methane_dimer",
        "Benzene-water_complex",
        "Benzene_dimer_parallel_displaced",
    )
    points: int = 28
    nearer: float = 0.3
    farthest: float = 8.0


@dataclass(frozen=True)
class Dissociation:
    """Interaction energies [P] in kcal/mol at the ``contact`` [P] (Å) of one dimer.

    E(dimer) − E(first alone) − E(second alone), all at the same geometry. ``s22_teacher`` and
    ``s22_student`` are those at the S22 geometry itself, ``s22_ccsdt`` the reference there.
    """

    dimer: str
    contact: Float
    teacher: Float
    student: Float
    s22_teacher: float
    s22_student: float
    s22_ccsdt: float

    def summary(self, cutoff: float) -> dict[str, float | None]:
        """Wells of both (kcal/mol) and what the teacher still feels beyond ``cutoff`` (Å)."""
        lowest = int(np.argmin(self.teacher))
        beyond = self.contact > cutoff
        return {
            "teacher_minimum_contact": float(self.contact[lowest]),
            "student_minimum_contact": float(self.contact[np.argmin(self.student)]),
            "teacher_well_kcal": float(self.teacher[lowest]),
            "student_at_teacher_minimum_kcal": float(self.student[lowest]),
            "error_at_teacher_minimum_kcal": float(self.student[lowest] - self.teacher[lowest]),
            "mae_within_cutoff_kcal": float(np.abs(self.student - self.teacher)[~beyond].mean()),
            "teacher_beyond_cutoff_kcal": (
                float(self.teacher[beyond][0]) if beyond.any() else None
            ),
            "student_largest_beyond_cutoff_kcal": (
                float(np.abs(self.student[beyond]).max()) if beyond.any() else None
            ),
            "s22_teacher_kcal": self.s22_teacher,
            "s22_student_kcal": self.s22_student,
            "s22_ccsdt_kcal": self.s22_ccsdt,
        }


def drawn_apart(dimer: Atoms, atoms_of_first: int, contacts: Sequence[float]) -> list[Atoms]:
    """``dimer`` with its second molecule moved along the line of centers to these ``contacts`` (Å).

    Contacts are the closest distance of the two molecules, which grows with their separation.
    """
    first, second = dimer[:atoms_of_first], dimer[atoms_of_first:]
    axis = second.get_center_of_mass() - first.get_center_of_mass()
    axis = axis / np.linalg.norm(axis)
    found = []
    for contact in contacts:
        low, high = -5.0, float(contact) + 10.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            if closest_contact(first.positions, second.positions + middle * axis) < contact:
                low = middle
            else:
                high = middle
        moved = dimer.copy()
        moved.positions[atoms_of_first:] += high * axis
        found.append(moved)
    return found


def measure_dissociation(
    subject: Subject,
    settings: DissociationSettings,
    tell: Tell = tell_nobody,
) -> tuple[list[Dissociation], list[str]]:
    """The curve of each dimer; also the names of those for which a method gave no answer.

    Raises:
        TeacherError: if the teacher is not available.
    """
    found = []
    failed = []
    for row, name in enumerate(settings.dimers):
        dimer = create_s22_system(name)
        size = int(get_number_of_dimer_atoms(name)[0])
        nearest = closest_contact(dimer.positions[:size], dimer.positions[size:])
        nearest -= settings.nearer
        # Denser where the interaction changes most.
        contacts = np.geomspace(nearest, settings.farthest, settings.points)
        scan = drawn_apart(dimer, size, contacts.tolist())
        structures = [dimer[:size], dimer[size:], dimer, *scan]
        mine = [point and point.energy for point in student_points(subject.potential, structures)]
        his = [point and point.energy for point in teacher_points(subject.teacher, structures)]
        if None in mine or None in his:
            failed.append(name)
        else:
            student, reference = _interaction(mine), _interaction(his)
            found.append(
                Dissociation(
                    dimer=name.replace("_", " "),
                    contact=contacts,
                    teacher=reference[1:],
                    student=student[1:],
                    s22_teacher=float(reference[0]),
                    s22_student=float(student[0]),
                    s22_ccsdt=float(_KCAL_PER_EV * get_interaction_energy_cc(name)),
                )
            )
        tell("dissociation curves", row + 1, len(settings.dimers))
    return found, failed


def _interaction(energies: Sequence[float | None]) -> Float:
    """kcal/mol, of [first alone, second alone, dimer, dimer, …] in eV."""
    values = np.array(energies, dtype=np.float64)
    return np.asarray(_KCAL_PER_EV * (values[2:] - values[0] - values[1]))
