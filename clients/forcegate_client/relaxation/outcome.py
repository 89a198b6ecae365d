"""What goes into a relaxation and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ase import Atoms

from forcegate_client.errors import ForcegateError
from forcegate_client.messages import Predictions
from forcegate_client.results import forget_results
from forcegate_client.structures import StructureBatch

__all__ = ["Evaluate", "Relaxed", "failed"]

Evaluate = Callable[[StructureBatch], Predictions]
"""Energies and forces of a batch. What cannot be computed is in ``problems``, by its index."""


@dataclass(frozen=True)
class Relaxed:
    """How the relaxation of one structure ended.

    ``index`` is its place among the structures that were given. ``atoms`` is a copy where the last
    step left it, with ``energy`` (eV) and forces in its calculator; cell, ``info`` and constraints
    are those that it came with. ``start_energy`` (eV) is that of the geometry that was given,
    ``max_force`` (eV/Å) the largest force on an atom that may move, ``steps`` how often the atoms
    moved.

    ``problem`` is the problem document of a structure that failed. ``energy`` and ``max_force``
    are then ``None``, and ``atoms`` has no calculator.
    """

    index: int
    atoms: Atoms
    start_energy: float | None
    energy: float | None
    max_force: float | None
    steps: int
    converged: bool
    problem: dict[str, Any] | None = None


def failed(
    index: int, atoms: Atoms, start: float | None, steps: int, error: ForcegateError
) -> Relaxed:
    """How that of ``atoms`` ended, the structure ``index``, which has no minimum."""
    atoms = atoms.copy()
    forget_results(atoms)
    # The server counts within a request; the caller within all structures.
    error.structure = index
    problem: dict[str, Any] = error.to_problem()
    return Relaxed(index, atoms, start, None, None, steps, False, problem)
