"""How ``forcegate relax`` brings frames to their minima: many at once, or one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from ase import Atoms
from ase.optimize import FIRE, LBFGS

from forcegate_client.bonds import bond_changes, bonded_pairs
from forcegate_client.calculator import RemoteCalculator
from forcegate_client.errors import UnprocessableRequest
from forcegate_client.nve import snapshot
from forcegate_client.reading.record import Problem, Record
from forcegate_client.relaxation import Relaxed, RemoteEvaluator, relax_batched

__all__ = ["Optimizer", "Outcome", "relax_many", "relax_one", "unread"]


class Optimizer(StrEnum):
    """Optimisers that need nothing but forces."""

    FIRE = "fire"
    LBFGS = "lbfgs"


@dataclass(frozen=True)
class Outcome:
    """How one relaxation went; energies in eV, forces in eV/Å; ``None`` what is not known."""

    formula: str
    steps: int
    energy_change_ev: float | None
    energy_ev: float | None
    largest_force: float | None
    converged: bool
    remark: str


def relax_many(
    frames: Sequence[Atoms], evaluate: RemoteEvaluator, fmax: float, steps: int
) -> Iterator[tuple[int, Atoms, Outcome]]:
    """Relax all of them in batches; each comes out when it is done, with its place."""
    for relaxed in relax_batched(frames, evaluate, fmax=fmax, max_steps=steps):
        yield relaxed.index, relaxed.atoms, _outcome(frames[relaxed.index], relaxed)


def relax_one(
    atoms: Atoms, calculator: RemoteCalculator, fmax: float, steps: int, optimizer: Optimizer
) -> Outcome:
    """Relax in place; the result carries its energy and forces."""
    formula = atoms.get_chemical_formula()
    atoms.calc = calculator
    bonds = bonded_pairs(atoms)
    engine = (FIRE if optimizer is Optimizer.FIRE else LBFGS)(atoms, logfile=None)
    try:
        start = atoms.get_potential_energy()
        converged = bool(engine.run(fmax=fmax, steps=steps))
        energy = atoms.get_potential_energy()
    except UnprocessableRequest as error:
        atoms.calc = None
        return Outcome(formula, engine.nsteps, None, None, None, False, str(error))
    forces = atoms.get_forces()
    atoms.calc = snapshot(atoms).calc
    changed = bool(bond_changes(bonds, atoms))
    return Outcome(
        formula=formula,
        steps=engine.nsteps,
        energy_change_ev=energy - start,
        energy_ev=energy,
        largest_force=float(np.linalg.norm(forces, axis=1).max()),
        converged=converged,
        remark=_remark(converged, changed),
    )


def unread(record: Record) -> Outcome:
    """Of a record that holds no structure."""
    detail = "" if record.problem is None else record.problem.detail
    return Outcome("", 0, None, None, None, False, detail)


def _outcome(start: Atoms, relaxed: Relaxed) -> Outcome:
    formula = start.get_chemical_formula()
    if relaxed.problem is not None:
        detail = Problem.of(relaxed.problem).detail
        return Outcome(formula, relaxed.steps, None, None, None, False, detail)
    assert relaxed.energy is not None
    assert relaxed.start_energy is not None
    changed = bool(bond_changes(bonded_pairs(start), relaxed.atoms))
    return Outcome(
        formula=formula,
        steps=relaxed.steps,
        energy_change_ev=relaxed.energy - relaxed.start_energy,
        energy_ev=relaxed.energy,
        largest_force=relaxed.max_force,
        converged=relaxed.converged,
        remark=_remark(relaxed.converged, changed),
    )


def _remark(converged: bool, changed: bool) -> str:
    remarks = [] if converged else ["not converged"]
    return "; ".join([*remarks, "bonds changed"] if changed else remarks)
