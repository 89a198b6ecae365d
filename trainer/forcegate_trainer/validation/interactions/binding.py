"""How strongly a student binds pairs of molecules: S66 to the reference, S66x8 to the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.units import kcal, mol

from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.reports import number, table
from forcegate_trainer.simulation.potential import BatchPotential
from forcegate_trainer.teachers import parse_teacher
from forcegate_trainer.validation.interactions.binding_plots import plot_binding
from forcegate_trainer.validation.interactions.s66 import FACTORS, S66Dimer, load_s66
from forcegate_trainer.validation.section import Section, plain
from forcegate_trainer.validation.statics.points import student_points

__all__ = ["Binding", "BindingSettings", "binding_section", "measure_binding", "summarise_binding"]

Float = npt.NDArray[np.float64]

_KCAL_PER_EV = mol / kcal
_WORST = 10
_FIGURE = "binding"


@dataclass(frozen=True)
class BindingSettings:
    """Every ``every``-th pair of S66, from the first on."""

    every: int = 1


@dataclass(frozen=True)
class Binding:
    """Interaction energies in kcal/mol of ``pairs``; NaN where a method gave no answer.

    ``student`` and ``teacher`` [D] at the geometries of S66; ``student_scan`` and ``teacher_scan``
    [D, 8] at those of S66x8.
    """

    pairs: tuple[S66Dimer, ...]
    student: Float
    teacher: Float
    student_scan: Float
    teacher_scan: Float

    @property
    def reference(self) -> Float:
        """The published energies [D]."""
        return np.array([pair.reference for pair in self.pairs])


def measure_binding(
    potential: BatchPotential,
    teacher: BatchPotential,
    settings: BindingSettings,
    tell: Tell = tell_nobody,
) -> Binding:
    """E(pair) − E(first alone) − E(second alone), both alone as they are in the pair."""
    pairs = tuple(load_s66()[:: settings.every])
    mine, his = [], []
    for row, pair in enumerate(pairs):
        mine.append(_interactions(potential, pair))
        his.append(_interactions(teacher, pair))
        tell("interaction energies of S66", row + 1, len(pairs))
    student, reference = np.array(mine), np.array(his)
    return Binding(pairs, student[:, 0], reference[:, 0], student[:, 1:], reference[:, 1:])


def summarise_binding(found: Binding) -> dict[str, Any]:
    """Errors in kcal/mol over the pairs that have an answer; None where none has.

    A sign is wrong where the student repels and the reference attracts.
    """
    reference = found.reference
    error = found.student - reference
    answered = np.isfinite(error)
    to_teacher = np.abs(found.student_scan - found.teacher_scan)
    return {
        "pairs": len(found.pairs),
        "without_answer": int((~answered).sum()),
        "mae_kcal": _mean(np.abs(error)),
        "mean_error_kcal": _mean(error),
        "worst_kcal": float(np.abs(error[answered]).max()) if answered.any() else None,
        "q90_kcal": float(np.quantile(np.abs(error[answered]), 0.9)) if answered.any() else None,
        "wrong_signs": int((found.student[answered] * reference[answered] < 0).sum()),
        "mae_to_teacher_kcal": _mean(np.abs(found.student - found.teacher)),
        "teacher_mae_kcal": _mean(np.abs(found.teacher - reference)),
        "teacher_wrong_signs": int((found.teacher * reference < 0).sum()),
        "scan": {
            f"{factor:g}": {
                "mae_to_teacher_kcal": _mean(to_teacher[:, column]),
                "worst_to_teacher_kcal": _largest(to_teacher[:, column]),
                "mae_kcal": _mean(np.abs(found.student_scan[:, column] - _scan(found)[:, column])),
                "teacher_mae_kcal": _mean(
                    np.abs(found.teacher_scan[:, column] - _scan(found)[:, column])
                ),
            }
            for column, factor in enumerate(FACTORS)
        },
    }


def binding_section(
    potential: BatchPotential,
    teacher: str,
    settings: BindingSettings | None = None,
    tell: Tell = tell_nobody,
) -> Section:
    """S66 and S66x8, student beside teacher and reference.

    Raises:
        TeacherError: if the teacher is not available.
    """
    settings = settings or BindingSettings()
    found = measure_binding(potential, parse_teacher(teacher).potential(), settings, tell)
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
                "teacher": teacher,
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


def _interactions(potential: BatchPotential, pair: S66Dimer) -> Float:
    """[1 + 8] in kcal/mol: at the geometry of S66, then at those of S66x8."""
    size = len(pair.first)
    # The molecules are rigid but for the digits of the two publications' files.
    near = pair.scan[0]
    structures = [pair.first, pair.second, pair.dimer, near[:size], near[size:], *pair.scan]
    points = student_points(potential, structures)
    energies = np.array([np.nan if point is None else point.energy for point in points])
    at_minimum = energies[2] - energies[0] - energies[1]
    scan = energies[5:] - energies[3] - energies[4]
    return np.asarray(_KCAL_PER_EV * np.concatenate([[at_minimum], scan]))


def _scan(found: Binding) -> Float:
    return np.array([pair.scan_reference for pair in found.pairs])


def _mean(values: Float) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _largest(values: Float) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else None


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
