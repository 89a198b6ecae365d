"""The report of torsion profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.reports import STUDENT, TEACHER, clean, number, panels, table
from forcegate_trainer.validation.molecules import in_markdown
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.statics.torsions import (
    TorsionProfile,
    TorsionSettings,
    measure_torsions,
)
from forcegate_trainer.validation.subject import Subject

__all__ = ["MOST_PANELS", "plot_torsions", "summarise_torsions", "torsion_section"]

MOST_PANELS = 12


def torsion_section(
    subject: Subject,
    molecules: Mapping[str, str],
    settings: TorsionSettings,
    tell: Tell = tell_nobody,
) -> Section:
    """Torsion profiles of ``molecules`` (name to SMILES), student beside teacher.

    Raises:
        TeacherError: if the teacher is not available.
    """
    found = measure_torsions(subject, molecules, settings, tell)
    summary = summarise_torsions(found)
    data: dict[str, Any] = {
        "settings": asdict(settings),
        "teacher": subject.teacher,
        **summary,
        "profiles": [
            {
                "molecule": profile.molecule,
                "bond": profile.bond,
                "angles_deg": profile.angles.tolist(),
                "teacher_kcal": profile.teacher.tolist(),
                "student_kcal": profile.student.tolist(),
                "counted": profile.counted.tolist(),
                "mae_kcal": profile.mae,
                "barrier_error_kcal": profile.barrier_error,
            }
            for profile in found
        ],
    }
    return Section(
        title="Torsion profiles",
        markdown=_text(found, summary, settings),
        figures={"torsions": plot_torsions(found)} if found else {},
        data=data,
        figures_for_verdict={
            f"torsion_{name}": value
            for name in ("mae_kcal", "barrier_mae_kcal")
            if (value := summary[name]) is not None
        },
    )


def summarise_torsions(found: Sequence[TorsionProfile]) -> dict[str, float | None]:
    """Errors in kcal/mol over profiles, each counted once; None where there is none."""
    mae = np.array([profile.mae for profile in found])
    barrier = np.abs([profile.barrier_error for profile in found])
    if not len(mae):
        names = ("mae_kcal", "mae_q90_kcal", "barrier_mae_kcal", "barrier_worst_kcal")
        return dict.fromkeys(names)
    return {
        "mae_kcal": float(mae.mean()),
        "mae_q90_kcal": float(np.quantile(mae, 0.9)),
        "barrier_mae_kcal": float(barrier.mean()),
        "barrier_worst_kcal": float(barrier.max()),
    }


def _text(
    found: Sequence[TorsionProfile],
    summary: Mapping[str, float | None],
    settings: TorsionSettings,
) -> str:
    text = (
        f"The most central rotatable bond of a conformer that the student relaxed, turned rigidly "
        f"in {settings.angles} steps; each curve is relative to its own mean. Angles more than "
        f"{settings.ceiling_kcal:g} kcal/mol above the teacher's lowest are clashes of the rigid "
        "scan (hollow in the figure) and are left out of errors; a scan that is mostly clashes is "
        f"left out altogether. MAE over {len(found)} profiles: {number(summary['mae_kcal'], 2)} "
        f"kcal/mol, nine in ten within {number(summary['mae_q90_kcal'], 2)}. The barrier, highest "
        "less lowest energy of what counts, is off by "
        f"{number(summary['barrier_mae_kcal'], 2)} kcal/mol in the mean, at worst by "
        f"{number(summary['barrier_worst_kcal'], 2)}."
    )
    if not found:
        return text
    headings = ("molecule", "bond", "MAE, kcal/mol", "teacher's barrier", "student's", "angles")
    rows = [
        (
            in_markdown(profile.molecule),
            profile.bond,
            number(profile.mae, 2),
            *(number(span, 2) for span in profile.barriers),
            f"{profile.counted.sum()} of {settings.angles}",
        )
        for profile in found
    ]
    figure = "![torsion profiles](torsions.png)"
    if len(found) > MOST_PANELS:
        figure += f"\n\nThe figure shows the first {MOST_PANELS}."
    return "\n\n".join([text, figure, table(headings, rows)])


def plot_torsions(found: Sequence[TorsionProfile]) -> Figure:
    """Energy (kcal/mol) against angle (degrees), a small panel for each of the first molecules."""
    found = found[:MOST_PANELS]
    figure, axes = panels(len(found), row_inches=2.7)
    for axis, profile in zip(axes, found, strict=True):
        counted = profile.counted
        for energies, color, label in (
            (profile.teacher, TEACHER, "teacher"),
            (profile.student, STUDENT, "student"),
        ):
            shown = np.where(counted, energies, np.nan)
            axis.plot(profile.angles, shown, "o-", ms=3, lw=1.0, color=color, label=label)
            axis.plot(
                profile.angles[~counted], energies[~counted], "o", ms=3, mfc="none", mec=color
            )
        span = float(np.ptp(profile.teacher[counted])) + 0.5
        axis.set_ylim(profile.teacher[counted].min() - 0.3 * span, None)
        axis.set_ylim(top=profile.teacher[counted].max() + 0.5 * span)
        axis.set_title(f"{profile.molecule}, {profile.bond}", fontsize=9)
        axis.set_xticks([0, 90, 180, 270])
        clean(axis)
    axes[0].legend(frameon=False, fontsize=8)
    axes[0].set_ylabel("energy / kcal/mol")
    figure.supxlabel("angle / °", fontsize=9)
    return figure
