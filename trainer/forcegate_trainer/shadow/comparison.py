"""One structure under the teacher, beside what the student said of it."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculatorError

from forcegate_service.monitoring.shadow_record import ShadowStructure
from forcegate_service.monitoring.shadow_results import (
    SKIP_REASONS,
    LabelledStructure,
    SkippedStructure,
    SkipReason,
)
from forcegate_trainer.teachers.checks import THERMAL_BOND_FACTOR, drop_reason
from forcegate_trainer.teachers.spec import Teacher

__all__ = ["compare"]


def compare(structure: ShadowStructure, teacher: Teacher) -> LabelledStructure | SkippedStructure:
    """How far the student is from ``teacher``, or why that cannot be said.

    The teacher sees the very positions that the student saw. A fresh calculator is used, so that no
    electronic state is carried from one structure to the next. What `label` would drop is skipped,
    because the card's test metrics are about such frames; whether a structure is in pieces is not
    asked, since nobody says how many molecules it should be.
    """
    atoms = Atoms(structure.atomic_numbers, structure.positions, calculator=teacher.calculator())
    try:
        forces = np.asarray(atoms.get_forces(), dtype=np.float64)
        energy = float(atoms.get_potential_energy())
    except CalculatorError as error:
        not_converged = "not converged" in str(error)
        return _skipped(structure, "scf_not_converged" if not_converged else "teacher_failed")
    answer = {**atoms.calc.results, "energy": energy, "forces": forces}
    reason = drop_reason(
        structure.atomic_numbers,
        structure.positions,
        answer,
        len(structure.atomic_numbers),
        THERMAL_BOND_FACTOR,
    )
    if reason is not None:
        known = next(known for known in SKIP_REASONS if known == reason)
        return _skipped(structure, known)
    difference = structure.forces - forces
    return LabelledStructure(
        id=structure.id,
        n_atoms=len(structure.atomic_numbers),
        force_absolute_sum=float(np.abs(difference).sum()),
        force_squared_sum=float((difference**2).sum()),
        energy_error_ev=structure.energy - energy,
    )


def _skipped(structure: ShadowStructure, reason: SkipReason) -> SkippedStructure:
    return SkippedStructure(id=structure.id, reason=reason)
