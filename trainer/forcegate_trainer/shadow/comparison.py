"""One structure under the teacher, beside what the student said of it."""

from __future__ import annotations

import numpy as np

from forcegate_client.structures import StructureBatch
from forcegate_service.watch.shadow.record import ShadowStructure
from forcegate_service.watch.shadow.results import (
    SKIP_REASONS,
    LabelledStructure,
    SkippedStructure,
)
from forcegate_trainer.data.labelling.checks import THERMAL_BOND_FACTOR, drop_reason
from forcegate_trainer.errors import LabelError
from forcegate_trainer.teachers.interface import Teacher

__all__ = ["compare"]


def compare(structure: ShadowStructure, teacher: Teacher) -> LabelledStructure | SkippedStructure:
    """How far the student is from ``teacher``, or why that cannot be said.

    The teacher sees the very positions that the student saw. A fresh calculator is used, so that no
    electronic state is carried from one structure to the next. What `label` would drop is skipped,
    because the card's test metrics are about such frames; whether a structure is in pieces is not
    asked, since nobody says how many molecules it should be.
    """
    batch = StructureBatch.from_arrays(
        n_atoms=[len(structure.atomic_numbers)],
        atomic_numbers=structure.atomic_numbers,
        positions=structure.positions,
    )
    (reply,) = teacher.label(batch, np.zeros(1, dtype=np.int64))
    if isinstance(reply, LabelError):
        return _skipped(structure, reply.reason)
    reason = drop_reason(
        structure.atomic_numbers,
        structure.positions,
        reply,
        len(structure.atomic_numbers),
        THERMAL_BOND_FACTOR,
    )
    if reason is not None:
        return _skipped(structure, reason)
    forces, energy = reply.forces, reply.energy
    difference = structure.forces - forces
    return LabelledStructure(
        id=structure.id,
        n_atoms=len(structure.atomic_numbers),
        force_absolute_sum=float(np.abs(difference).sum()),
        force_squared_sum=float((difference**2).sum()),
        energy_error_ev=structure.energy - energy,
    )


def _skipped(structure: ShadowStructure, reason: str) -> SkippedStructure:
    for known in SKIP_REASONS:
        if known == reason:
            return SkippedStructure(id=structure.id, reason=known)
    return SkippedStructure(id=structure.id, reason="teacher_failed")
