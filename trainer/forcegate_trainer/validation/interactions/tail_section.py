"""The report of what molecules feel of each other from contact to 20 Å."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from forcegate_trainer.data.labelling.complexes import CONTACT, FAR
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.reports import (
    ACCENT,
    INK,
    STUDENT,
    TEACHER,
    clean,
    number,
    or_none,
    panels,
    table,
)
from forcegate_trainer.validation.interactions.tail import Tail, TailSettings, measure_tails
from forcegate_trainer.validation.section import Section, plain
from forcegate_trainer.validation.subject import Subject

__all__ = ["plot_tails", "tail_section"]

Float = npt.NDArray[np.float64]

_FIGURE = "tails"


def tail_section(
    subject: Subject, settings: TailSettings | None = None, tell: Tell = tell_nobody
) -> Section:
    """Neutral pairs, ions with neutral molecules, and pairs of ions.

    Raises:
        TeacherError: if the teacher is not available.
    """
    settings = settings or TailSettings()
    found, left_out = measure_tails(subject, settings, tell)
    summaries = {tail.pair.name: _summary(tail, settings) for tail in found}
    return Section(
        title="From contact to 20 Å",
        markdown=_text(found, summaries, left_out, settings),
        figures={_FIGURE: plot_tails(found)} if found else {},
        data=plain(
            {
                "settings": asdict(settings),
                "teacher": subject.teacher,
                "left_out": left_out,
                "pairs": {
                    tail.pair.name: {
                        **summaries[tail.pair.name],
                        "distances": tail.distances.tolist(),
                        "student_kcal": tail.student.tolist(),
                        "teacher_kcal": tail.teacher.tolist(),
                        "taught_kcal": tail.taught.tolist(),
                    }
                    for tail in found
                },
            }
        ),
        figures_for_verdict=_judged(found, summaries, settings),
    )


def _summary(tail: Tail, settings: TailSettings) -> dict[str, Any]:
    error = np.abs(tail.student - tail.taught)
    row = tail.at(settings.judged_at)
    near, far = tail.distances <= CONTACT, tail.distances > FAR
    return {
        "kind": tail.pair.kind,
        "well_taught_kcal": _least(tail.taught[near]),
        "well_student_kcal": _least(tail.student[near]),
        "mae_near_kcal": _mean(error[near]),
        "worst_far_kcal": _largest(error[far]),
        "judged_at_taught_kcal": or_none(tail.taught[row]),
        "judged_at_student_kcal": or_none(tail.student[row]),
        "judged_at_teacher_kcal": or_none(tail.teacher[row]),
        "judged_at_student_rest_kcal": or_none(tail.student_rest[row]),
        "judged_at_teacher_rest_kcal": or_none(tail.teacher_rest[row]),
    }


def _judged(
    found: Sequence[Tail], summaries: Mapping[str, Mapping[str, Any]], settings: TailSettings
) -> dict[str, float]:
    """The largest rest of an ion and a neutral molecule; nothing where one has no answer."""
    wanted = [pair.name for pair in settings.pairs if pair.kind == "ion and neutral"]
    rests = [summaries.get(name, {}).get("judged_at_student_rest_kcal") for name in wanted]
    known = [abs(rest) for rest in rests if rest is not None]
    return {"ion_neutral_rest_kcal": max(known)} if known and len(known) == len(wanted) else {}


def _text(
    found: Sequence[Tail],
    summaries: Mapping[str, Mapping[str, Any]],
    left_out: Mapping[str, str],
    settings: TailSettings,
) -> str:
    at = f"{settings.judged_at:g} Å"
    parts = [
        "Interaction energies, E(pair) − E(molecules alone), of rigid molecules in an oriented "
        f"contact that are drawn apart to {settings.farthest:g} Å between their closest atoms, in "
        "kcal/mol. What is taught is the teacher's energy, but for molecules of which one has a "
        f"net charge: between {CONTACT:g} and {FAR:g} Å nothing is, and beyond, where the teacher "
        "leaks charge from one to the other, the sum of the parts, the Coulomb energy of their "
        "charges and dispersion. The rest is what is left without the Coulomb energy of a method's "
        "own charges of each molecule, made to sum to its net charge (the charge–dipole term and "
        f"what follows it): at {at} there should be none.",
    ]
    if found:
        parts += [
            f"![interaction energies from contact to 20 Å]({_FIGURE}.png)",
            table(
                ("pair", *_COLUMNS.values(), *(f"{name}, {at}" for name in _AT.values())),
                [
                    (
                        f"{name} ({one['kind']})",
                        *(number(one[key], 2) for key in _COLUMNS),
                        *(number(one[key], 3) for key in _AT),
                    )
                    for name, one in summaries.items()
                ],
            ),
        ]
    if left_out:
        reasons = ", ".join(f"{name} ({reason})" for name, reason in left_out.items())
        parts.append(f"Left out: {reasons}.")
    return "\n\n".join(parts)


_COLUMNS = {
    "well_taught_kcal": "lowest, taught",
    "well_student_kcal": "lowest, student",
    "mae_near_kcal": "MAE to 4 Å",
    "worst_far_kcal": "worst beyond 6 Å",
}
_AT = {
    "judged_at_taught_kcal": "taught",
    "judged_at_student_kcal": "student",
    "judged_at_teacher_kcal": "teacher",
    "judged_at_student_rest_kcal": "student's rest",
    "judged_at_teacher_rest_kcal": "teacher's rest",
}


def _known(values: Float) -> Float:
    return values[np.isfinite(values)]


def _mean(values: Float) -> float | None:
    return float(_known(values).mean()) if len(_known(values)) else None


def _largest(values: Float) -> float | None:
    return float(_known(values).max()) if len(_known(values)) else None


def _least(values: Float) -> float | None:
    return float(_known(values).min()) if len(_known(values)) else None


def plot_tails(found: Sequence[Tail]) -> Figure:
    """A panel for each pair: interaction energies (kcal/mol) against the closest contact (Å)."""
    figure, axes = panels(len(found), row_inches=2.9)
    for axis, tail in zip(axes, found, strict=True):
        axis.axhline(0.0, color=INK, lw=0.5)
        axis.plot(tail.distances, tail.teacher, "--", lw=1.0, color=TEACHER, label="teacher")
        axis.plot(tail.distances, tail.taught, ".", ms=6, color=ACCENT, label="what is taught")
        axis.plot(
            tail.distances, tail.student, "o-", ms=2.5, lw=1.0, color=STUDENT, label="student"
        )
        axis.set_xscale("log")
        axis.set_xticks([2, 4, 8, 16], labels=["2", "4", "8", "16"])
        axis.minorticks_off()
        # Wells of tens and tails of hundredths.
        axis.set_yscale("symlog", linthresh=0.1)
        axis.set_title(f"{tail.pair.name} ({tail.pair.kind})", fontsize=8)
        clean(axis)
    axes[0].legend(frameon=False, fontsize=7)
    axes[0].set_ylabel("interaction energy / kcal/mol")
    figure.supxlabel("closest contact / Å", fontsize=9)
    return figure
