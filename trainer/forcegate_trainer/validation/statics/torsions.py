"""Profiles of rotatable bonds: the student's barrier heights beside the teacher's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.units import kcal, mol
from rdkit import Chem

from forcegate_trainer.data.molecules.structures import (
    atomic_numbers,
    conformers,
    hydrogenated,
    structure_of,
)
from forcegate_trainer.data.sampling.distortions import beyond, rotatable_bonds
from forcegate_trainer.errors import MoleculeError
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.validation.minimum import relax
from forcegate_trainer.validation.points import student_points, teacher_points
from forcegate_trainer.validation.subject import Subject

__all__ = [
    "TorsionProfile",
    "TorsionSettings",
    "central_bond",
    "measure_torsions",
    "rigid_scan",
]

Float = npt.NDArray[np.float64]

_KCAL_PER_EV = mol / kcal


@dataclass(frozen=True)
class TorsionSettings:
    """``angles`` of one turn for each of the first ``molecules`` that have a rotatable bond.

    Angles where the teacher is more than ``ceiling_kcal`` above its lowest are clashes of a rigid
    scan, which no thermal torsion visits; they are drawn and left out of errors.
    """

    molecules: int = 30
    angles: int = 24
    ceiling_kcal: float = 15.0
    relax_fmax: float = 0.02
    relax_steps: int = 300
    seed: int = 13


@dataclass(frozen=True)
class TorsionProfile:
    """Energies [A] in kcal/mol at ``angles`` [A] in degrees from the start.

    Both are relative to their mean over the angles that are no clash (mask ``counted`` [A]), so
    that no single angle's error moves the curve.
    """

    molecule: str
    bond: str
    angles: Float
    teacher: Float
    student: Float
    counted: npt.NDArray[np.bool_]

    @property
    def mae(self) -> float:
        """Mean absolute difference in kcal/mol over what counts."""
        return float(np.abs(self.student - self.teacher)[self.counted].mean())

    @property
    def barriers(self) -> tuple[float, float]:
        """Highest minus lowest energy of what counts, in kcal/mol: teacher, student."""
        return (
            float(np.ptp(self.teacher[self.counted])),
            float(np.ptp(self.student[self.counted])),
        )

    @property
    def barrier_error(self) -> float:
        """Student's barrier less the teacher's, in kcal/mol."""
        teacher, student = self.barriers
        return student - teacher


def central_bond(molecule: Chem.Mol) -> tuple[int, int] | None:
    """The rotatable bond with the most heavy atoms on its lighter side; None if there is none."""
    numbers = atomic_numbers(molecule)

    def lighter_side(bond: tuple[int, int]) -> int:
        sides = beyond(molecule, *bond), beyond(molecule, bond[1], bond[0])
        return min(int((numbers[side] > 1).sum()) for side in sides)

    return max(rotatable_bonds(molecule), key=lighter_side, default=None)


def rigid_scan(molecule: Chem.Mol, start: Atoms, bond: tuple[int, int], angles: int) -> list[Atoms]:
    """``start`` with everything beyond ``bond`` turned about it, in ``angles`` equal steps."""
    fixed, moving = bond
    atoms = beyond(molecule, fixed, moving)
    axis = start.positions[moving] - start.positions[fixed]
    turned = []
    for angle in np.arange(angles) * 360.0 / angles:
        part = start[atoms]
        part.rotate(float(angle), axis, center=start.positions[fixed])
        whole = start.copy()
        whole.positions[atoms] = part.positions
        turned.append(whole)
    return turned


def measure_torsions(
    subject: Subject,
    molecules: Mapping[str, str],
    settings: TorsionSettings,
    tell: Tell = tell_nobody,
) -> list[TorsionProfile]:
    """Rigid scans from a conformer that the student relaxed, for ``molecules`` (name to SMILES).

    Raises:
        TeacherError: if the teacher is not available.
    """
    found: list[TorsionProfile] = []
    for name, smiles in molecules.items():
        if len(found) == settings.molecules:
            break
        try:
            molecule = hydrogenated(smiles)
            bond = central_bond(molecule)
            start = conformers(molecule, 1, settings.seed)[0]
        except MoleculeError:
            continue
        if bond is None:
            continue
        relaxed = relax(
            structure_of(molecule, start),
            subject.calculator(),
            fmax=settings.relax_fmax,
            steps=settings.relax_steps,
        )
        if relaxed.trouble is None:
            scan = rigid_scan(molecule, relaxed.atoms, bond, settings.angles)
            profile = _profile(name, molecule, bond, scan, subject, settings)
            found += [profile] if profile else []
        tell("torsion profiles", len(found), settings.molecules)
    return found


def _profile(
    name: str,
    molecule: Chem.Mol,
    bond: tuple[int, int],
    scan: Sequence[Atoms],
    subject: Subject,
    settings: TorsionSettings,
) -> TorsionProfile | None:
    """None if fewer than half of the angles can be compared."""
    answers = zip(
        student_points(subject.potential, scan), teacher_points(subject.teacher, scan), strict=True
    )
    both = [
        (row, mine.energy, his.energy) for row, (mine, his) in enumerate(answers) if mine and his
    ]
    if not both:
        return None
    rows, student, reference = (np.array(column) for column in zip(*both, strict=True))
    student, reference = _KCAL_PER_EV * student, _KCAL_PER_EV * reference
    counted = reference - reference.min() <= settings.ceiling_kcal
    if 2 * counted.sum() < settings.angles:
        return None
    symbols = [molecule.GetAtomWithIdx(index).GetSymbol() for index in bond]
    return TorsionProfile(
        molecule=name,
        bond=f"{symbols[0]}{bond[0]}–{symbols[1]}{bond[1]}",
        angles=rows * 360.0 / settings.angles,
        teacher=reference - reference[counted].mean(),
        student=student - student[counted].mean(),
        counted=counted,
    )
