"""The report of barriers in relaxed scans."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.reports import INK, STUDENT, TEACHER, clean, number, table
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.statics.torsionnet import (
    Barrier,
    TorsionNetSettings,
    load_fragments,
    measure_barriers,
)
from forcegate_trainer.validation.subject import Subject

__all__ = ["plot_barriers", "summarise_barriers", "torsionnet_section"]

_WORST = 10
_FIGURE = "torsion_barriers"


def torsionnet_section(
    subject: Subject,
    training: Collection[str],
    settings: TorsionNetSettings,
    tell: Tell = tell_nobody,
) -> Section:
    """Barriers beside the published ones; ``training`` are the SMILES that were trained on.

    Raises:
        TeacherError: if the teacher is not available.
    """
    found, silent = measure_barriers(subject, settings, tell)
    summary = summarise_barriers(found)
    trained = sum(barrier.fragment.smiles in training for barrier in found)
    data: dict[str, Any] = {
        "settings": asdict(settings),
        **summary,
        "fragments": len(found),
        "trained_on": trained,
        "without_answer": silent,
        "barriers": [
            {
                "fragment": barrier.fragment.name,
                "smiles": barrier.fragment.smiles,
                "reference_kcal": barrier.reference,
                "teacher_kcal": barrier.teacher,
                "student_kcal": barrier.student,
                "converged": barrier.converged,
            }
            for barrier in found
        ],
    }
    return Section(
        title="Barriers of torsions: TorsionNet500",
        markdown=_text(found, silent, trained, summary, settings),
        figures={_FIGURE: plot_barriers(found)} if found else {},
        data=data,
        # Judges nothing: the reference is neither the teacher nor the best there is.
        figures_for_verdict={
            f"torsionnet_{name}": value for name, value in summary.items() if value is not None
        },
    )


def summarise_barriers(found: Sequence[Barrier]) -> dict[str, float | None]:
    """Errors of barriers in kcal/mol, each fragment once; None where there is none."""
    names = ("mae_kcal", "median_kcal", "worst_kcal", "to_teacher_mae_kcal", "teacher_mae_kcal")
    if not found:
        return dict.fromkeys(names)
    student, teacher, reference = (
        np.array([getattr(barrier, name) for barrier in found])
        for name in ("student", "teacher", "reference")
    )
    error = np.abs(student - reference)
    values = (
        error.mean(),
        np.median(error),
        error.max(),
        np.abs(student - teacher).mean(),
        np.abs(teacher - reference).mean(),
    )
    return dict(zip(names, map(float, values), strict=True))


def _text(
    found: Sequence[Barrier],
    silent: Sequence[str],
    trained: int,
    summary: dict[str, float | None],
    settings: TorsionNetSettings,
) -> str:
    text = (
        f"{len(found)} drug-like fragments: every {settings.every}th of the "
        f"{len(load_fragments())} of TorsionNet500 whose bond the published file tells without "
        f"geometries. The bond is turned in {settings.angles} steps and held by a spring of "
        f"{settings.stiffness:g} eV/rad²; at each angle the lowest of up to {settings.conformers} "
        f"conformers is relaxed by the student to {settings.fmax:g} eV/Å. A barrier is the highest "
        "less the lowest energy of a turn. The published ones come from scans of their own with "
        "density functional theory; the teacher answers at the student's geometries. "
        f"{trained} of the fragments were trained on."
    )
    if silent:
        text += f" Without an answer at some angle, and left out: {', '.join(silent)}."
    if not found:
        return text
    text += (
        f" Off the published barriers by {number(summary['mae_kcal'], 2)} kcal/mol in the mean, "
        f"{number(summary['median_kcal'], 2)} in the median, {number(summary['worst_kcal'], 2)} at "
        f"worst; off the teacher's by {number(summary['to_teacher_mae_kcal'], 2)} in the mean. The "
        f"teacher itself is off the published ones by {number(summary['teacher_mae_kcal'], 2)}."
    )
    worst = sorted(found, key=lambda barrier: -abs(barrier.student - barrier.reference))[:_WORST]
    rows = [
        (
            barrier.fragment.name,
            f"`{barrier.fragment.smiles}`",
            *(number(v, 2) for v in (barrier.reference, barrier.teacher, barrier.student)),
            f"{barrier.converged} of {settings.angles}",
        )
        for barrier in worst
    ]
    headings = ("fragment", "SMILES", "published", "teacher", "student", "angles relaxed")
    figure = f"![barriers]({_FIGURE}.png)"
    return "\n\n".join([text, figure, f"The worst {len(rows)}, kcal/mol:", table(headings, rows)])


def plot_barriers(found: Sequence[Barrier]) -> Figure:
    """Barriers of student and teacher (kcal/mol) against the published ones."""
    figure = Figure(figsize=(5.2, 4.8), layout="constrained")
    axis = figure.subplots()
    reference = np.array([barrier.reference for barrier in found])
    for name, color in (("teacher", TEACHER), ("student", STUDENT)):
        values = [getattr(barrier, name) for barrier in found]
        axis.plot(reference, values, "o", ms=3.5, color=color, alpha=0.8, label=name)
    end = 1.05 * float(reference.max())
    axis.plot([0, end], [0, end], color=INK, lw=0.8)
    axis.set(xlabel="published barrier / kcal/mol", ylabel="barrier / kcal/mol")
    axis.legend(frameon=False, fontsize=8)
    clean(axis)
    return figure
