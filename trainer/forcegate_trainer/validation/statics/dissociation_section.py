"""The report of dissociation curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.reports import ACCENT, INK, STUDENT, TEACHER, clean, number, panels, table
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.statics.dissociation import (
    Dissociation,
    DissociationSettings,
    measure_dissociation,
)
from forcegate_trainer.validation.subject import Subject

__all__ = ["dissociation_section", "plot_dissociation"]

Float = npt.NDArray[np.float64]


def dissociation_section(
    subject: Subject, settings: DissociationSettings, tell: Tell = tell_nobody
) -> Section:
    """Interaction energy against closest contact, student beside teacher.

    Raises:
        TeacherError: if the teacher is not available.
    """
    found, failed = measure_dissociation(subject, settings, tell)
    cutoff = subject.cutoff
    reach = np.inf if cutoff is None else cutoff
    summaries = {curve.dimer: curve.summary(reach) for curve in found}
    data: dict[str, Any] = {
        "settings": asdict(settings),
        "teacher": subject.teacher,
        "cutoff": cutoff,
        "failed": failed,
        "dimers": {
            curve.dimer: {
                **summaries[curve.dimer],
                "contact": curve.contact.tolist(),
                "teacher_kcal": curve.teacher.tolist(),
                "student_kcal": curve.student.tolist(),
            }
            for curve in found
        },
    }
    return Section(
        title="Dissociation of dimers",
        markdown=_text(summaries, failed, cutoff),
        figures={"dissociation": plot_dissociation(found, cutoff)} if found else {},
        data=data,
    )


def _text(
    summaries: dict[str, dict[str, float | None]], failed: Sequence[str], cutoff: float | None
) -> str:
    parts = [
        "Interaction energies, E(dimer) − E(monomers), of S22 dimers whose second molecule is "
        "drawn away rigidly along the line of centers; the horizontal axis is the closest contact "
        "of the two molecules."
    ]
    if cutoff is not None:
        parts.append(
            f"**Beyond {cutoff:g} Å of closest contact the student is blind**: no atom of one "
            "molecule is seen by one of the other, so its interaction energy is zero by "
            "construction, whatever charges, dipoles or dispersion there are. The column “teacher "
            "beyond” is what is lost there."
        )
    headings = (
        "dimer",
        "teacher's well",
        "student there",
        "error",
        "MAE within the cutoff",
        "teacher beyond",
        "at the S22 geometry: student",
        "teacher",
        "CCSD(T)",
    )
    keys = (
        "teacher_well_kcal",
        "student_at_teacher_minimum_kcal",
        "error_at_teacher_minimum_kcal",
        "mae_within_cutoff_kcal",
        "teacher_beyond_cutoff_kcal",
        "s22_student_kcal",
        "s22_teacher_kcal",
        "s22_ccsdt_kcal",
    )
    rows = [
        (dimer, *(number(summary[key], 2) for key in keys)) for dimer, summary in summaries.items()
    ]
    parts += ["All in kcal/mol.", table(headings, rows)]
    parts.append(
        "CCSD(T) is the published reference of S22: the teacher's distance from it is an error "
        "that the student inherits."
    )
    if failed:
        parts.append("A method gave no answer for " + ", ".join(failed) + ".")
    return "\n\n".join([*parts, *(["![dissociation](dissociation.png)"] if summaries else [])])


def plot_dissociation(found: Sequence[Dissociation], cutoff: float | None) -> Figure:
    """Interaction energy (kcal/mol) against closest contact (Å), with the student's cutoff."""
    figure, axes = panels(len(found), row_inches=2.9)
    for axis, curve in zip(axes, found, strict=True):
        axis.axhline(0.0, color=INK, lw=0.5)
        if cutoff is not None:
            axis.axvspan(cutoff, curve.contact[-1], color=INK, alpha=0.06, lw=0)
            axis.axvline(cutoff, color=ACCENT, lw=1.0, label=f"cutoff, {cutoff:g} Å")
        axis.plot(curve.contact, curve.teacher, "-", lw=1.4, color=TEACHER, label="teacher")
        axis.plot(
            curve.contact, curve.student, "o-", ms=2.5, lw=1.0, color=STUDENT, label="student"
        )
        # The repulsive wall would hide the well.
        well = max(0.5, -float(curve.teacher.min()))
        axis.set_ylim(-1.7 * well, 1.2 * well)
        axis.set_title(curve.dimer, fontsize=9)
        clean(axis)
    axes[0].legend(frameon=False, fontsize=7)
    axes[0].set_ylabel("interaction energy / kcal/mol")
    figure.supxlabel("closest contact / Å", fontsize=9)
    return figure
