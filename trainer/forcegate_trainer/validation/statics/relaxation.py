"""Do structures that the student relaxes end where the teacher's do?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.units import kcal, mol
from rdkit import Chem

from forcegate_client.bonds import bond_changes, bonded_pairs
from forcegate_trainer.data.molecules.structures import conformers, hydrogenated, structure_of
from forcegate_trainer.data.sampling.randomness import generator
from forcegate_trainer.errors import MoleculeError
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.reports import number, table
from forcegate_trainer.teachers import make_teacher
from forcegate_trainer.teachers.spec import TBLITE_ACCURACY
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.statics.minimum import Minimum, relax
from forcegate_trainer.validation.statics.points import TIGHT_ACCURACY, teacher_points
from forcegate_trainer.validation.statics.relaxation_plots import plot_relaxations
from forcegate_trainer.validation.statics.superposition import heavy_atom_rmsd

__all__ = [
    "Relaxation",
    "RelaxationSettings",
    "measure_relaxations",
    "relaxation_section",
]

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
    make_calculator: Callable[[], BaseCalculator],
    teacher: str,
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
            student = relax(start, make_calculator(), fmax=settings.fmax, steps=settings.steps)
            found.append(_compare(name, molecule, positions, start, student, teacher, settings))
        tell("relaxations by student and teacher", row + 1, len(molecules))
    return found, left_out


def relaxation_section(
    make_calculator: Callable[[], BaseCalculator],
    teacher: str,
    molecules: Mapping[str, str],
    settings: RelaxationSettings | None = None,
    tell: Tell = tell_nobody,
) -> Section:
    """Relax ``molecules`` (name to SMILES) with a student and its teacher, and compare the minima.

    Raises:
        TeacherError: if the teacher is not available.
    """
    settings = settings or RelaxationSettings()
    found, left_out = measure_relaxations(make_calculator, teacher, molecules, settings, tell)
    summary = summarise(found)
    rmsd = [run.heavy_atom_rmsd for run in found if run.heavy_atom_rmsd is not None]
    verdict = {
        key: float(summary[key])
        for key in ("heavy_atom_rmsd_median", "relaxed_fraction")
        if summary[key] is not None
    }
    return Section(
        title="Relaxation",
        markdown=_text(found, left_out, summary, settings),
        figures={"relaxation": plot_relaxations(found)} if rmsd else {},
        data={
            "settings": asdict(settings),
            "teacher": teacher,
            "summary": summary,
            "relaxations": [asdict(run) for run in found],
            "without_geometry": left_out,
        },
        figures_for_verdict=verdict,
    )


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


def _text(
    found: Sequence[Relaxation],
    left_out: Sequence[str],
    summary: Mapping[str, Any],
    settings: RelaxationSettings,
) -> str:
    good = summary["relaxed_fraction"]
    parts = [
        f"Each molecule starts from up to {settings.starts} MMFF94 conformers with every atom "
        f"displaced at random (σ = {settings.displacement:g} Å per coordinate); student and "
        f"teacher relax the same start (LBFGS to {settings.fmax:g} eV/Å, at most {settings.steps} "
        "steps). RMSD is of heavy atoms after the best superposition, equivalent atoms exchanged "
        "where that is better; molecules with fewer than three heavy atoms have none. The floor "
        f"is how far the teacher's own minimum moves when it is relaxed on to "
        f"{settings.tight_fmax:g} eV/Å.",
        f"Of {len(found)} relaxations {number(None if good is None else 100 * good, 1)} % "
        "converged with the bonds that the teacher keeps. Median RMSD "
        f"{number(summary['heavy_atom_rmsd_median'], 3)} Å (90 % within "
        f"{number(summary['heavy_atom_rmsd_p90'], 3)} Å, worst "
        f"{number(summary['heavy_atom_rmsd_max'], 3)} Å; floor "
        f"{number(summary['floor_rmsd_median'], 3)} Å) over {summary['compared']} pairs of "
        "minima. To the teacher the student's minimum lies "
        f"{number(summary['energy_above_teacher_median_kcal'], 2)} kcal/mol above its own in the "
        f"median, at worst {number(summary['energy_above_teacher_max_kcal'], 2)} kcal/mol; below "
        "zero means that the student found the better conformer.",
    ]
    if left_out:
        parts.append("No starting geometry was found for " + ", ".join(left_out) + ".")
    if found:
        parts.append("![heavy-atom RMSD of relaxed structures](relaxation.png)")
    headings = ("molecule", "student", "teacher", "RMSD, Å", "floor, Å", "E above, kcal/mol")
    rows = [
        (
            run.molecule,
            _outcome(run.converged, run.steps) + ("" if run.intact else ", bonds changed"),
            _outcome(run.teacher_converged, run.teacher_steps),
            number(run.heavy_atom_rmsd, 3),
            number(run.floor_rmsd, 3),
            number(run.energy_above_teacher_kcal, 2),
        )
        for run in found
    ]
    return "\n\n".join([*parts, table(headings, rows)])


def _outcome(converged: bool, steps: int) -> str:
    return f"{steps} steps" if converged else f"not converged ({steps} steps)"
