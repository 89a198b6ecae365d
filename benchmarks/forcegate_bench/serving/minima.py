"""Minima of a batched relaxation beside those of ASE's FIRE, one molecule at a time.

ASE runs in this process and asks the runtime that the gateway uses, so that whatever differs
comes of the batches and of the way through the gateway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import FIRE

from forcegate_bench.report.rows import Row, absent, at_most, plain
from forcegate_bench.subjects.in_process import InProcess
from forcegate_client.relaxation import Relaxed
from forcegate_client.structures import StructureBatch

__all__ = ["beside_ase"]

_SAME_MINIMUM_MEV = 1.0


class _Alone(Calculator):  # type: ignore[misc]  # ASE has no type information
    """One structure at a time by ``model``."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, model: InProcess) -> None:
        super().__init__()
        self._model = model

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        energy, forces = self._model.answer(StructureBatch.from_atoms([self.atoms]))
        self.results = {"energy": float(energy[0]), "forces": np.array(forces)}


def beside_ase(
    name: str,
    model: InProcess,
    frames: Sequence[Atoms],
    results: Sequence[Relaxed],
    *,
    fmax: float,
    steps: int,
) -> list[Row]:
    """Energies and numbers of steps of ``results`` against those of ASE from the same ``frames``.

    A difference counts where both ended below ``fmax`` (eV/Å) within ``steps``.
    """
    differences, apart, other_steps = [], 0, 0
    for one in results:
        atoms = frames[one.index].copy()
        atoms.calc = _Alone(model)
        engine = FIRE(atoms, logfile=None)
        # What has no finite force is below every limit for ASE.
        converged = bool(engine.run(fmax=fmax, steps=steps)) and np.isfinite(atoms.positions).all()
        other_steps += engine.nsteps != one.steps
        if converged and one.converged:
            assert one.energy is not None
            differences.append(1e3 * abs(atoms.get_potential_energy() - one.energy))
        elif converged != one.converged:
            apart += 1
    label = f"{name}: largest difference of a minimum to that of ASE's FIRE, one at a time"
    if not differences:
        return [absent(label, f"≤ {_SAME_MINIMUM_MEV:g}", "meV")]
    return [
        at_most(label, max(differences), _SAME_MINIMUM_MEV, "meV"),
        plain(f"{name}: minima compared with ASE's", len(differences), "molecules"),
        plain(f"{name}: converged in a batch or with ASE, but not in both", apart, "molecules"),
        plain(f"{name}: with another number of steps than with ASE", other_steps, "molecules"),
    ]
