"""How ``forcegate relax`` brings frames to their minima: many at once, or one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TypedDict

import numpy as np
from ase import Atoms
from ase.optimize import FIRE, LBFGS

from forcegate_client.cli.frame_results import FrameResult
from forcegate_client.electrons import electrons_of
from forcegate_client.errors import UnprocessableRequest
from forcegate_client.http.calculator import ModelCalculator
from forcegate_client.http.client import Client
from forcegate_client.local.relaxation import relax_by_engine
from forcegate_client.local.student import Student
from forcegate_client.md.bonds import bond_changes, bonded_pairs
from forcegate_client.md.nve import snapshot
from forcegate_client.potential import Potential
from forcegate_client.reading.record import Problem
from forcegate_client.relaxation import Relaxed, RemoteEvaluator, relax_batched
from forcegate_client.relaxation.on_server import relax_on_server
from forcegate_client.remarks import Judge

__all__ = ["Optimizer", "judge_results", "relax_many", "relax_one"]

_JUDGED_AT_ONCE = 128


class Optimizer(StrEnum):
    """Optimisers that need nothing but forces."""

    FIRE = "fire"
    LBFGS = "lbfgs"


class Rules(TypedDict):
    """When a relaxation is done."""

    fmax: float
    max_steps: int


def relax_many(
    results: Sequence[FrameResult],
    evaluate: RemoteEvaluator,
    fmax: float,
    steps: int,
    moved_by: Student | Client | None = None,
    optimizer: Optimizer = Optimizer.FIRE,
) -> Iterator[FrameResult]:
    """Relax the structures of all of them in batches; each comes out when it is done.

    ``moved_by`` is what takes the steps where ``evaluate`` asks, if it is not this process: a
    student, by FIRE, or a server.
    """
    frames = [result.atoms for result in results if result.atoms is not None]
    rules: Rules = {"fmax": fmax, "max_steps": steps}
    if moved_by is None:
        minima = relax_batched(frames, evaluate, **rules)
    elif isinstance(moved_by, Client):
        minima = relax_on_server(frames, evaluate, moved_by, method=optimizer.value, **rules)
    else:
        minima = relax_by_engine(frames, evaluate, moved_by, **rules)
    for relaxed in minima:
        result = results[relaxed.index]
        _take(result, frames[relaxed.index], relaxed)
        yield result


def relax_one(
    result: FrameResult,
    calculator: ModelCalculator,
    fmax: float,
    steps: int,
    optimizer: Optimizer,
) -> FrameResult:
    """Relax its structure in place; it then carries its energy and forces."""
    atoms = result.atoms
    assert atoms is not None
    atoms.calc = calculator
    bonds = bonded_pairs(atoms)
    engine = (FIRE if optimizer is Optimizer.FIRE else LBFGS)(atoms, logfile=None)
    try:
        start = float(atoms.get_potential_energy())
        result.converged = bool(engine.run(fmax=fmax, steps=steps))
        result.energy = float(atoms.get_potential_energy())
    except UnprocessableRequest as error:
        atoms.calc = None
        result.steps, result.converged = engine.nsteps, False
        result.fail(Problem.of(error.to_problem()))
        return result
    result.steps = engine.nsteps
    result.energy_change = result.energy - start
    result.max_force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    result.warnings += _remarks(result.converged, bool(bond_changes(bonds, atoms)))
    atoms.calc = snapshot(atoms).calc
    return result


def judge_results(results: Sequence[FrameResult], client: Potential, judge: Judge) -> None:
    """Add uncertainty, novelty and what follows from it to results that have an energy."""
    computed = [result for result in results if result.energy is not None]
    for start in range(0, len(computed), _JUDGED_AT_ONCE):
        part = computed[start : start + _JUDGED_AT_ONCE]
        atoms = [result.atoms for result in part if result.atoms is not None]
        found = client.predict(
            atoms, judge.model, judge.version, ("energy", "uncertainty"), on_error="partial"
        ).predictions
        for row, place in enumerate(found.index.tolist()):
            result = part[place]
            if found.energy_uncertainty is not None:
                result.energy_uncertainty = float(found.energy_uncertainty[row])
            if found.max_novelty is not None:
                result.max_novelty = float(found.max_novelty[row])
            result.warnings += [
                *found.warnings.get(place, []),
                *judge.remarks(
                    periodic=bool(atoms[place].pbc.any()),
                    charged=electrons_of(atoms[place])[0] != 0,
                    novelty=result.max_novelty,
                ),
            ]


def _take(result: FrameResult, start: Atoms, relaxed: Relaxed) -> None:
    result.atoms, result.steps, result.converged = relaxed.atoms, relaxed.steps, relaxed.converged
    if relaxed.problem is not None:
        result.fail(Problem.of(relaxed.problem))
        return
    assert relaxed.energy is not None
    assert relaxed.start_energy is not None
    result.energy, result.max_force = relaxed.energy, relaxed.max_force
    result.energy_change = relaxed.energy - relaxed.start_energy
    changed = bool(bond_changes(bonded_pairs(start), relaxed.atoms))
    result.warnings += _remarks(relaxed.converged, changed)


def _remarks(converged: bool, changed: bool) -> list[str]:
    remarks = [] if converged else ["not converged"]
    return [*remarks, "bonds changed"] if changed else remarks
