"""What a student and its teacher say of given structures, one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from ase import Atoms

from forcegate_client.structures import StructureBatch
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.simulation.potential import BatchPotential
from forcegate_trainer.teachers import Answer, parse_teacher

__all__ = [
    "TIGHT_ACCURACY",
    "Point",
    "force_rmse",
    "members_of",
    "student_points",
    "teacher_points",
]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

# What a teacher that does not converge, or does not relax, at its usual accuracy is asked for.
TIGHT_ACCURACY = 0.01
_BATCH = 32


class Point(NamedTuple):
    """``energy`` in eV, ``forces`` [n, 3] in eV/Å, ``novelty`` the largest of an atom.

    ``novelty``, and atomic ``charges`` [n] in e, are None where the method does not tell them.
    """

    energy: float
    forces: Float
    novelty: float | None
    charges: Float | None = None


def student_points(potential: BatchPotential, structures: Sequence[Atoms]) -> list[Point | None]:
    """The potential's answers in order; None where one failed or is not finite."""
    points: list[Point | None] = []
    for start in range(0, len(structures), _BATCH):
        batch = StructureBatch.from_atoms(structures[start : start + _BATCH])
        found = potential(batch, members_of(batch))
        bounds = batch.offsets
        for row in range(len(batch)):
            where = slice(bounds[row], bounds[row + 1])
            charges = None if found.charges is None else found.charges[where]
            novelty = float(found.novelty[row])
            points.append(_point(float(found.energies[row]), found.forces[where], novelty, charges))
    return points


def teacher_points(
    teacher: str, structures: Sequence[Atoms], title: str = "", tell: Tell = tell_nobody
) -> list[Point | None]:
    """The teacher's answers in order, nothing carried between two; None where it has none.

    Raises:
        TeacherError: if the teacher is not available.
    """
    points: list[Point | None] = []
    if structures:
        batch = StructureBatch.from_atoms(structures)
        for reply in parse_teacher(teacher).label(batch, np.arange(len(batch), dtype=np.int64)):
            points.append(
                _point(reply.energy, reply.forces, None, reply.charges)
                if isinstance(reply, Answer)
                else None
            )
            tell(title, len(points), len(batch))
    return points


def force_rmse(predicted: Float, reference: Float) -> float:
    """Component RMSE in eV/Å of forces [n, 3]."""
    return float(np.sqrt(np.mean((predicted - reference) ** 2)))


def members_of(batch: StructureBatch) -> Int:
    """[B]; a number for each structure that only structures of the same atoms and charge share.

    A potential may keep a calculator for each member, with its atomic numbers, also from calls that
    had nothing to do with these structures.
    """
    bounds = batch.offsets
    return np.array(
        [
            int.from_bytes(
                hashlib.blake2b(
                    batch.atomic_numbers[bounds[row] : bounds[row + 1]].tobytes()
                    + batch.charges[row].tobytes(),
                    digest_size=7,
                ).digest(),
                "big",
            )
            for row in range(len(batch))
        ],
        dtype=np.int64,
    )


def _point(
    energy: float, forces: Float, novelty: float | None, charges: Float | None
) -> Point | None:
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        return None
    known = novelty is not None and np.isfinite(novelty)
    told = charges is not None and np.isfinite(charges).all()
    return Point(
        energy, np.array(forces), novelty if known else None, np.array(charges) if told else None
    )
