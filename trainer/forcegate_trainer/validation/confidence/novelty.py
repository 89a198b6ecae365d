"""Does novelty tell strange structures from ordinary ones, and does it mean error?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from forcegate_client.checks.composition import composition_warnings
from forcegate_client.structures import StructureBatch
from forcegate_trainer.data.sampling.randomness import generator
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.validation.confidence.strange import make_strange
from forcegate_trainer.validation.points import force_rmse, student_points, teacher_points
from forcegate_trainer.validation.statistics import auroc
from forcegate_trainer.validation.subject import Subject

__all__ = ["NORMAL_QUANTILE", "NoveltySettings", "StrangePoint", "compare_kind", "measure_strange"]

Float = npt.NDArray[np.float64]

# Of the novelty of ordinary frames: what lies beyond it is strange.
NORMAL_QUANTILE = 0.99


@dataclass(frozen=True)
class NoveltySettings:
    """``structures`` test frames, spread evenly, are what strange ones are made of."""

    structures: int = 40
    seed: int = 17


@dataclass(frozen=True)
class StrangePoint:
    """One strange structure: the student's largest novelty, and its error where that is known.

    ``force_rmse`` in eV/Å against the teacher, and ``teacher_force_rms``, the size of what it
    should have been; both None where the teacher did not converge. ``warned``: the gateway remarks
    on its composition, also if no charge is told.
    """

    kind: str
    novelty: float
    warned: bool
    force_rmse: float | None
    teacher_force_rms: float | None


def measure_strange(
    subject: Subject,
    normal: Sequence[Atoms],
    settings: NoveltySettings,
    tell: Tell = tell_nobody,
    *,
    ions: bool = True,
) -> tuple[list[StrangePoint], int]:
    """Make strange structures of ``normal`` and ask student and teacher about them.

    ``ions`` and zwitterions are strange to a student without charges alone.

    Also returns for how many the student's answer is not finite or tells no novelty.

    Raises:
        TeacherError: if the teacher is not available.
    """
    strange = make_strange(normal, generator(settings.seed, "strange structures"), ions)
    structures = [entry.atoms for entry in strange]
    mine = student_points(subject.potential, structures)
    references = teacher_points(
        subject.teacher, structures, "strange structures by the teacher", tell
    )
    warned = composition_warnings(_charge_untold(structures))
    found = []
    for row, (point, reference) in enumerate(zip(mine, references, strict=True)):
        if point is None or point.novelty is None:
            continue
        found.append(
            StrangePoint(
                kind=strange[row].kind,
                novelty=point.novelty,
                warned=row in warned,
                force_rmse=reference and force_rmse(point.forces, reference.forces),
                teacher_force_rms=reference and float(np.sqrt(np.mean(reference.forces**2))),
            )
        )
    return found, len(strange) - len(found)


def compare_kind(points: Sequence[StrangePoint], normal: Float) -> dict[str, Any]:
    """Novelty of one kind against that of ``normal`` [F] frames, and force errors where known."""
    novelty = np.array([point.novelty for point in points])
    errors = [point.force_rmse for point in points if point.force_rmse is not None]
    sizes = [point.teacher_force_rms for point in points if point.teacher_force_rms is not None]
    limit = float(np.quantile(normal, NORMAL_QUANTILE))
    return {
        "structures": len(points),
        "auroc": auroc(novelty, normal),
        "novelty_median": float(np.median(novelty)) if len(novelty) else None,
        "share_above_normal_p99": float(np.mean(novelty > limit)) if len(novelty) else None,
        "gateway_warns": float(np.mean([point.warned for point in points])) if points else None,
        "teacher_converged": len(errors),
        "force_rmse_median": float(np.median(errors)) if errors else None,
        "teacher_force_rms_median": float(np.median(sizes)) if sizes else None,
    }


def _charge_untold(structures: Sequence[Atoms]) -> StructureBatch:
    batch = StructureBatch.from_atoms(structures)
    return replace(batch, charges=np.zeros_like(batch.charges))
