"""What is done with structures: a task turns some of them into rows of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from forcegate_client.messages import Predictions
from forcegate_client.structures import StructureBatch

__all__ = ["Computed", "Evaluate", "MovesAtoms", "SinglePoint", "Task", "largest_forces"]

Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

Evaluate = Callable[[StructureBatch, Sequence[str]], Predictions]

TRANSIENT_STATUSES = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Computed:
    """The results of K of B structures.

    ``index`` [K], ascending; ``columns`` hold one value [K] each; ``positions`` [ΣN, 3] in Å if
    the task moved the atoms, ``forces`` [ΣN, 3] in eV/Å if they are kept. ``problems`` are problem
    documents of what failed, ``warnings`` remarks on what did not, both by index.
    """

    index: Int
    n_atoms: Int
    columns: Mapping[str, npt.NDArray[Any]]
    positions: Float | None = None
    forces: Float | None = None
    problems: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    warnings: Mapping[int, list[str]] = field(default_factory=dict)


class Task(Protocol):
    """Something to do with structures, by asking a model for energies and forces."""

    @property
    def name(self) -> str:
        """As on the command line."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that ``run`` gives."""

    @property
    def properties(self) -> tuple[str, ...]:
        """What it asks the model for."""

    def settings(self) -> dict[str, Any]:
        """JSON values that say all that its results depend on."""

    def run(self, structures: StructureBatch, evaluate: Evaluate) -> Computed:
        """Do it; runs in several threads at a time."""


@runtime_checkable
class MovesAtoms(Protocol):
    """A task that leaves coordinates where they are, if it is told which."""

    def holding(self, held: Bool, immovable: Mapping[int, Mapping[str, Any]]) -> Task:
        """The same task for structures with ``held`` [N, 3] coordinates.

        Those in ``immovable``, by their place, are held in other ways; it has their problems.
        """


@dataclass(frozen=True)
class SinglePoint:
    """Energy, largest force, uncertainty and novelty of each structure as it is."""

    keep_forces: bool = False
    name: str = "single-point"
    columns: tuple[str, ...] = (
        "energy",
        "energy_per_atom",
        "energy_uncertainty",
        "max_novelty",
        "max_force",
        "n_atoms",
    )
    properties: tuple[str, ...] = ("energy", "forces", "uncertainty")

    def settings(self) -> dict[str, Any]:
        """What its results depend on."""
        return {"task": self.name, "keep_forces": self.keep_forces}

    def run(self, structures: StructureBatch, evaluate: Evaluate) -> Computed:
        """One evaluation of each."""
        found = evaluate(structures, self.properties)
        rows = len(found.index)
        # Where nothing could be computed there are no arrays either.
        energy = _or_nothing(found.energy, rows)
        forces = np.zeros((0, 3)) if found.forces is None else found.forces
        columns = {
            "energy": energy,
            "energy_per_atom": energy / found.n_atoms,
            "energy_uncertainty": _or_nothing(found.energy_uncertainty, rows),
            "max_novelty": _or_nothing(found.max_novelty, rows),
            "max_force": largest_forces(forces, found.n_atoms),
            "n_atoms": found.n_atoms,
        }
        return Computed(
            index=found.index,
            n_atoms=found.n_atoms,
            columns=columns,
            forces=forces if self.keep_forces else None,
            problems=found.problems,
            warnings=found.warnings,
        )


def largest_forces(forces: Float, n_atoms: Int) -> Float:
    """The largest length of a force (eV/Å) in each structure; none of them is empty."""
    if not len(n_atoms):
        return np.zeros(0)
    starts = np.cumsum(n_atoms) - n_atoms
    largest: Float = np.sqrt(np.maximum.reduceat((forces * forces).sum(axis=1), starts))
    return largest


def _or_nothing(values: Float | None, rows: int) -> Float:
    if values is None:
        if rows:
            raise ValueError("the answer lacks a property that was asked for")
        return np.zeros(0)
    return values
