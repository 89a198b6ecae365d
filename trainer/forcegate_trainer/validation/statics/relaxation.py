"""Do structures that the student relaxes end where the teacher's do?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.units import kcal, mol
from rdkit import Chem

from forcegate_client.md.bonds import bond_changes, bonded_pairs
from forcegate_trainer.data.molecules.structures import conformers, hydrogenated, structure_of
from forcegate_trainer.data.sampling.randomness import generator
from forcegate_trainer.errors import MoleculeError
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.teachers import make_teacher
from forcegate_trainer.teachers.spec import TBLITE_ACCURACY
from forcegate_trainer.validation.minimum import Minimum, relax
from forcegate_trainer.validation.points import TIGHT_ACCURACY, teacher_points
from forcegate_trainer.validation.statics.geometries import heavy_atom_rmsd
from forcegate_trainer.validation.subject import Subject

__all__ = ["Relaxation", "RelaxationSettings", "measure_relaxations"]

Float = npt.NDArray[np.float64]

_KCAL_PER_EV = mol / kcal


@dataclass(frozen=True)
class RelaxationSettings:
    """Starts are MMFF94 conformers whose atoms were moved at random by ``displacement`` (Å).

    ``fmax`` in eV/Å for student and teacher; ``tight_fmax`` is what the teacher is relaxed on to,
    to learn how well its own minimum is determined.
    """

    starts: int = 2
    displacement: float = 0.05
    fmax: float = 0.02
    tight_fmax: float = 0.005
    steps: int = 500
    seed: int = 5


@dataclass(frozen=True)
class Relaxation:
    """One start, relaxed by both.

    ``heavy_atom_rmsd`` in Å between the two minima; ``floor_rmsd`` in Å between the teacher's
    minimum at ``fmax`` and at ``tight_fmax``; ``energy_above_teacher_kcal`` is the teacher's energy
    of the student's minimum minus that of its own. None: not defined, or the teacher failed.
    """

    molecule: str
    heavy_atoms: int
    converged: bool
    intact: bool
    steps: int
    teacher_converged: bool
    teacher_steps: int
    heavy_atom_rmsd: float | None
    floor_rmsd: float | None
    energy_above_teacher_kcal: float | None
    trouble: str | None


def measure_relaxations(
    subject: Subject,
    molecules: Mapping[str, str],
    settings: RelaxationSettings,
    tell: Tell = tell_nobody,
) -> tuple[list[Relaxation], list[str]]:
    """Relax every start of ``molecules`` (name to SMILES) twice.

    Also returns the names of molecules for which no starting geometry was found.

    Raises:
        TeacherError: if the teacher is not available.
    """
    found: list[Relaxation] = []
    left_out = []
    for row, (name, smiles) in enumerate(molecules.items()):
        rng = generator(settings.seed, "relaxation", smiles)
        try:
            molecule = hydrogenated(smiles)
            starts = conformers(molecule, settings.starts, settings.seed)
        except MoleculeError:
            left_out.append(name)
            continue
        for positions in starts:
            moved = positions + rng.normal(0.0, settings.displacement, positions.shape)
            start = structure_of(molecule, moved)
            student = relax(start, subject.calculator(), fmax=settings.fmax, steps=settings.steps)
            found.append(
                _compare(name, molecule, positions, start, student, subject.teacher, settings)
            )
        tell("relaxations by student and teacher", row + 1, len(molecules))
    return found, left_out


def summarise(found: Sequence[Relaxation]) -> dict[str, Any]:
    """Medians and fractions over relaxations; None where there is nothing to take them of."""
    rmsd = [run.heavy_atom_rmsd for run in found if run.heavy_atom_rmsd is not None]
    floor = [run.floor_rmsd for run in found if run.floor_rmsd is not None]
    above = [
        run.energy_above_teacher_kcal for run in found if run.energy_above_teacher_kcal is not None
    ]
    good = [run.converged and run.intact for run in found]
    return {
        "relaxations": len(found),
        "relaxed_fraction": float(np.mean(good)) if good else None,
        "teacher_converged": sum(run.teacher_converged for run in found),
        "compared": len(rmsd),
        "heavy_atom_rmsd_median": float(np.median(rmsd)) if rmsd else None,
        "heavy_atom_rmsd_p90": float(np.quantile(rmsd, 0.9)) if rmsd else None,
        "heavy_atom_rmsd_max": max(rmsd, default=None),
        "floor_rmsd_median": float(np.median(floor)) if floor else None,
        "energy_above_teacher_median_kcal": float(np.median(above)) if above else None,
        "energy_above_teacher_max_kcal": max(above, default=None),
    }


def _compare(
    name: str,
    molecule: Chem.Mol,
    relaxed: Float,
    start: Atoms,
    student: Minimum,
    teacher: str,
    settings: RelaxationSettings,
) -> Relaxation:
    own = _teacher_minimum(start, teacher, settings)
    finite = bool(np.isfinite(student.atoms.positions).all())
    comparable = own.converged and finite
    rmsd = floor = above = None
    if comparable:
        rmsd = heavy_atom_rmsd(molecule, student.atoms.positions, own.atoms.positions)
        here, there = teacher_points(teacher, [student.atoms, own.atoms])
        if here is not None and there is not None:
            above = _KCAL_PER_EV * (here.energy - there.energy)
        further = relax(
            own.atoms,
            make_teacher(teacher, TIGHT_ACCURACY),
            fmax=settings.tight_fmax,
            steps=settings.steps,
        )
        if further.converged:
            floor = heavy_atom_rmsd(molecule, further.atoms.positions, own.atoms.positions)
    return Relaxation(
        molecule=name,
        heavy_atoms=molecule.GetNumHeavyAtoms(),
        converged=student.converged,
        intact=finite and _intact(start, relaxed, student, own),
        steps=student.steps,
        teacher_converged=own.converged,
        teacher_steps=own.steps,
        heavy_atom_rmsd=rmsd,
        floor_rmsd=floor,
        energy_above_teacher_kcal=above,
        trouble=student.trouble,
    )


def _teacher_minimum(start: Atoms, teacher: str, settings: RelaxationSettings) -> Minimum:
    for accuracy in (TBLITE_ACCURACY, TIGHT_ACCURACY):
        calculator = make_teacher(teacher, accuracy)
        minimum = relax(start, calculator, fmax=settings.fmax, steps=settings.steps)
        if minimum.converged:
            break
    return minimum


def _intact(start: Atoms, relaxed: Float, student: Minimum, own: Minimum) -> bool:
    """No bond changed that the teacher's relaxation keeps."""
    bonds = bonded_pairs(Atoms(start.numbers, relaxed))
    here = bond_changes(bonds, student.atoms)
    if not here:
        return True
    there = bond_changes(bonds, own.atoms)
    return own.converged and here.broken <= there.broken and here.formed <= there.formed
