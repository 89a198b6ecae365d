"""The report of relaxations: in words, and RMSD by RMSD in a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.reports import ACCENT, INK, STUDENT, clean, number, table
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.statics.relaxation import (
    Relaxation,
    RelaxationSettings,
    measure_relaxations,
    summarise,
)
from forcegate_trainer.validation.subject import Subject

__all__ = ["plot_relaxations", "relaxation_section"]

Float = npt.NDArray[np.float64]


def relaxation_section(
    subject: Subject,
    molecules: Mapping[str, str],
    settings: RelaxationSettings,
    tell: Tell = tell_nobody,
) -> Section:
    """Relax ``molecules`` (name to SMILES) with a student and its teacher, and compare the minima.

    Raises:
        TeacherError: if the teacher is not available.
    """
    found, left_out = measure_relaxations(subject, molecules, settings, tell)
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
            "teacher": subject.teacher,
            "summary": summary,
            "relaxations": [asdict(run) for run in found],
            "without_geometry": left_out,
        },
        figures_for_verdict=verdict,
    )


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


def plot_relaxations(found: Sequence[Relaxation]) -> Figure:
    """RMSD (Å) of every pair of minima, sorted, with the teacher's floor; energies beside it."""
    figure = Figure(figsize=(10.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    compared = sorted(
        (run for run in found if run.heavy_atom_rmsd is not None),
        key=lambda run: run.heavy_atom_rmsd or 0.0,
    )
    rmsd = np.array([run.heavy_atom_rmsd for run in compared], dtype=np.float64)
    place = np.arange(len(compared))
    left.semilogy(place, np.maximum(rmsd, 1e-4), "o", ms=4, color=STUDENT, label="student")
    with_floor = [(row, run.floor_rmsd) for row, run in enumerate(compared) if run.floor_rmsd]
    if with_floor:
        rows, floor = zip(*with_floor, strict=True)
        left.semilogy(rows, floor, "_", ms=7, color=INK, label="floor: teacher, tighter")
    left.axhline(float(np.median(rmsd)), color=ACCENT, lw=1.0, label="median")
    left.set_xlabel("relaxations, sorted")
    left.set_ylabel("heavy-atom RMSD / Å")
    left.legend(frameon=False, fontsize=8)
    known = [run for run in compared if run.energy_above_teacher_kcal is not None]
    right.semilogx(
        [max(run.heavy_atom_rmsd or 0.0, 1e-4) for run in known],
        [run.energy_above_teacher_kcal for run in known],
        "o",
        ms=4,
        color=STUDENT,
    )
    right.axhline(0.0, color=INK, lw=0.8)
    right.set_xlabel("heavy-atom RMSD / Å")
    right.set_ylabel("above the teacher's minimum / kcal/mol")
    clean(left, right)
    return figure
