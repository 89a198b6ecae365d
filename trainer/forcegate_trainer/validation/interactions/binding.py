"""How strongly a student binds pairs of molecules: S66 to the reference, S66x8 to the teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.units import kcal, mol

from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.simulation.potential import BatchPotential
from forcegate_trainer.validation.interactions.s66 import FACTORS, S66Dimer, load_s66
from forcegate_trainer.validation.points import student_points

__all__ = ["Binding", "BindingSettings", "measure_binding", "summarise_binding"]

Float = npt.NDArray[np.float64]

_KCAL_PER_EV = mol / kcal


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
