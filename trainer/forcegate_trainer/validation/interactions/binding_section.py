"""The report of how strongly a student binds pairs of molecules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.reports import INK, STUDENT, TEACHER, clean, number, table
from forcegate_trainer.teachers import parse_teacher
from forcegate_trainer.validation.interactions.binding import (
    Binding,
    BindingSettings,
    measure_binding,
    summarise_binding,
)
from forcegate_trainer.validation.interactions.s66 import FACTORS, S66Dimer
from forcegate_trainer.validation.section import Section, plain
from forcegate_trainer.validation.subject import Subject

__all__ = ["binding_section", "plot_binding"]

Float = npt.NDArray[np.float64]

_WORST = 10
_FIGURE = "binding"


def binding_section(
    subject: Subject,
    settings: BindingSettings,
    tell: Tell = tell_nobody,
) -> Section:
    """S66 and S66x8, student beside teacher and reference.

    Raises:
        TeacherError: if the teacher is not available.
    """
    found = measure_binding(
        subject.potential, parse_teacher(subject.teacher).potential(), settings, tell
    )
    summary = summarise_binding(found)
    # A pair without an answer binds nobody knows how: nothing is approved by the others.
    judged = (
        {}
        if summary["without_answer"]
        else {
            "s66_mae_kcal": summary["mae_kcal"],
            "s66_wrong_signs": float(summary["wrong_signs"]),
        }
    )
    return Section(
        title="Binding of pairs: S66",
        markdown=_text(found, summary),
        figures={_FIGURE: plot_binding(found)},
        data=plain(
            {
                "teacher": subject.teacher,
                "summary": summary,
                "pairs": {
                    pair.name: {
                        "reference_kcal": pair.reference,
                        "teacher_kcal": found.teacher[row],
                        "student_kcal": found.student[row],
                        "student_scan_kcal": found.student_scan[row].tolist(),
                        "teacher_scan_kcal": found.teacher_scan[row].tolist(),
                    }
                    for row, pair in enumerate(found.pairs)
                },
            }
        ),
        figures_for_verdict=judged,
    )


def _text(found: Binding, summary: dict[str, Any]) -> str:
    parts = [
        "Interaction energies, E(pair) − E(molecules alone, as they are in the pair), of S66 "
        "(Řezáč, Riley, Hobza 2011) beside CCSD(T) at the basis-set limit, in kcal/mol; and of "
        "S66x8, where the molecules are drawn apart to 0.9 to 2.0 times their distance. Methods of "
        "the teacher's kind are some tenths off themselves, which a student inherits.",
        f"MAE to the reference {number(summary['mae_kcal'], 2)} (the teacher's own "
        f"{number(summary['teacher_mae_kcal'], 2)}), to the teacher "
        f"{number(summary['mae_to_teacher_kcal'], 2)}; 90 % of the {summary['pairs']} pairs are "
        f"within {number(summary['q90_kcal'], 2)}, the worst is {number(summary['worst_kcal'], 2)} "
        f"off; mean error {number(summary['mean_error_kcal'], 2)} (positive: bound too weakly). "
        f"**Wrong signs: {summary['wrong_signs']}.**",
    ]
    if summary["without_answer"]:
        parts.append(f"{summary['without_answer']} pairs have no answer: nothing is judged.")
    rows = [
        (factor, *(number(row[key], 2) for key in _SCAN_COLUMNS))
        for factor, row in summary["scan"].items()
    ]
    parts += [
        table(("S66x8, distance ×", *_SCAN_COLUMNS.values()), rows),
        f"![interaction energies]({_FIGURE}.png)",
        f"The {_WORST} pairs that are worst:",
        table(
            ("pair", "reference", "teacher", "student", "error"),
            [
                (
                    pair.name,
                    number(pair.reference, 2),
                    number(found.teacher[row], 2),
                    number(found.student[row], 2),
                    number(found.student[row] - pair.reference, 2),
                )
                for row, pair in _worst(found)
            ],
        ),
    ]
    return "\n\n".join(parts)


_SCAN_COLUMNS = {
    "mae_to_teacher_kcal": "MAE to the teacher",
    "worst_to_teacher_kcal": "worst to the teacher",
    "mae_kcal": "MAE to the reference",
    "teacher_mae_kcal": "the teacher's own",
}


def _worst(found: Binding) -> Sequence[tuple[int, S66Dimer]]:
    # Pairs without an answer come first.
    error = np.nan_to_num(np.abs(found.student - found.reference), nan=np.inf)
    return [(int(row), found.pairs[row]) for row in np.argsort(-error, kind="stable")[:_WORST]]


def plot_binding(found: Binding) -> Figure:
    """Both methods against the reference, and the distance from the teacher at each distance."""
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    parity, scan = figure.subplots(1, 2)
    reference = found.reference
    ends = [float(reference.min()) - 1.0, 1.0]
    parity.plot(ends, ends, color=INK, lw=0.6)
    parity.axhline(0.0, color=INK, lw=0.4, ls=":")
    parity.plot(reference, found.teacher, "o", ms=3, mfc="none", color=TEACHER, label="teacher")
    parity.plot(reference, found.student, "o", ms=3, color=STUDENT, label="student")
    parity.set_xlabel("S66, CCSD(T) / kcal/mol")
    parity.set_ylabel("interaction energy / kcal/mol")
    parity.legend(frameon=False, fontsize=8)
    error = np.abs(found.student_scan - found.teacher_scan)
    for row in error:
        scan.plot(FACTORS, row, color=STUDENT, lw=0.5, alpha=0.3)
    answered = error[np.isfinite(error).all(axis=1)]
    if len(answered):
        scan.plot(FACTORS, answered.mean(axis=0), "o-", ms=4, color=STUDENT, label="mean")
        scan.legend(frameon=False, fontsize=8)
    scan.set_xlabel("S66x8, times the distance")
    scan.set_ylabel("|student − teacher| / kcal/mol")
    for axis in (parity, scan):
        clean(axis)
    return figure
