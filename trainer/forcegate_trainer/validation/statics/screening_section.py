"""The report of conformers' energies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.reports import ACCENT, INK, STUDENT, clean, number, table
from forcegate_trainer.validation.molecules import in_markdown
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.statics.screening import (
    ConformerEnergies,
    ScreeningSettings,
    measure_conformers,
    summarise_screening,
)
from forcegate_trainer.validation.subject import Subject

__all__ = ["plot_screening", "screening_section"]

_FIGURE = "conformers"


def screening_section(
    subject: Subject,
    molecules: Mapping[str, str],
    settings: ScreeningSettings,
    tell: Tell = tell_nobody,
) -> Section:
    """Relative energies of conformers of ``molecules`` (name to SMILES), student and teacher.

    Raises:
        TeacherError: if the teacher is not available.
    """
    found, left_out = measure_conformers(subject, molecules, settings, tell)
    summary = summarise_screening(found, settings.smallest_spread_kcal)
    agreed = {
        "conformer_pair_mae_kcal": summary["pair_mae_kcal_mean_of_molecules"],
        "conformer_spearman": summary["spearman_median"],
    }
    return Section(
        title="Screening: energies of conformers",
        markdown=_text(found, left_out, summary, settings),
        figures={_FIGURE: plot_screening(found, settings.smallest_spread_kcal)} if found else {},
        data={
            "settings": asdict(settings),
            "teacher": subject.teacher,
            "summary": summary,
            "molecules": [
                {
                    "molecule": entry.molecule,
                    "teacher_kcal": entry.teacher.tolist(),
                    "student_kcal": entry.student.tolist(),
                    "mae_kcal": entry.mae,
                    "spearman": entry.spearman(settings.smallest_spread_kcal),
                }
                for entry in found
            ],
            "left_out": left_out,
        },
        figures_for_verdict={key: value for key, value in agreed.items() if value is not None},
    )


def _text(
    found: Sequence[ConformerEnergies],
    left_out: Mapping[str, str],
    summary: Mapping[str, Any],
    settings: ScreeningSettings,
) -> str:
    parts = [
        f"Up to {settings.conformers} conformers of each molecule (ETKDG, MMFF94), relaxed by the "
        f"student for at most {settings.relax_steps} steps; mirror images and relabelled copies "
        "count once. Student and teacher then answer for the **same** geometries, and the "
        "differences between each two conformers of a molecule are compared: no conformer is the "
        "zero to which all others are referred, whose own error would be charged to them.",
        f"MAE {number(summary['pair_mae_kcal_mean_of_molecules'], 2)} kcal/mol in the mean of "
        f"{summary['molecules']} molecules (the figure of the verdict; median "
        f"{number(summary['pair_mae_kcal_median_molecule'], 2)}, nine in ten within "
        f"{number(summary['pair_mae_kcal_q90_molecule'], 2)}, worst "
        f"{number(summary['pair_mae_kcal_worst_molecule'], 2)}), "
        f"{number(summary['pair_mae_kcal'], 2)} over all {summary['pairs']} pairs of "
        f"{summary['conformers']} conformers; the teacher's energies "
        f"span {number(summary['teacher_spread_kcal_median'], 2)} kcal/mol in the median molecule. "
        f"Spearman of a molecule: median {number(summary['spearman_median'], 3)} (the figure of "
        "the verdict), mean weighted by conformers "
        f"{number(summary['spearman_mean_by_conformers'], 3)}, worst "
        f"{number(summary['spearman_worst_molecule'], 3)}, over {summary['ranked_molecules']} "
        f"molecules; {summary['too_narrow_to_rank']} more span less than "
        f"{settings.smallest_spread_kcal:g} kcal/mol, where rank is noise, and are left out of it.",
    ]
    if left_out:
        reasons = ", ".join(f"{in_markdown(name)} ({reason})" for name, reason in left_out.items())
        parts.append(f"Left out for want of conformers: {reasons}.")
    if found:
        parts.append(f"![relative energies of conformers]({_FIGURE}.png)")
    headings = (
        "molecule",
        "conformers",
        "span, kcal/mol",
        "MAE of differences, kcal/mol",
        "Spearman",
    )
    rows = [
        (
            in_markdown(entry.molecule),
            len(entry.teacher),
            number(entry.spread, 2),
            number(entry.mae, 2),
            number(entry.spearman(settings.smallest_spread_kcal), 2),
        )
        for entry in found
    ]
    return "\n\n".join([*parts, table(headings, rows)])


def plot_screening(found: Sequence[ConformerEnergies], smallest_spread: float) -> Figure:
    """Relative energies (kcal/mol), student against teacher; error and rank of each molecule."""
    figure = Figure(figsize=(10.0, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    teacher = np.concatenate([entry.teacher for entry in found])
    student = np.concatenate([entry.student for entry in found])
    low, high = min(teacher.min(), student.min()), max(teacher.max(), student.max())
    left.plot(teacher, student, "o", ms=3, alpha=0.6, color=STUDENT)
    left.plot([low, high], [low, high], color=ACCENT, lw=0.8)
    left.set_xlabel("teacher: energy relative to the molecule's mean / kcal/mol")
    left.set_ylabel("student / kcal/mol")
    ranks = [(entry.mae, entry.spearman(smallest_spread)) for entry in found]
    known = [(mae, rank) for mae, rank in ranks if rank is not None]
    if known:
        right.plot(*zip(*known, strict=True), "o", ms=5, color=STUDENT)
    lowest = min((rank for _, rank in known), default=0.0)
    right.set_ylim(min(0.0, lowest) - 0.05, 1.05)
    right.axhline(1.0, color=INK, lw=0.6)
    right.set_xlabel("MAE of the molecule's differences / kcal/mol")
    right.set_ylabel("Spearman of the molecule")
    clean(left, right)
    return figure
