"""``--task relax``: every structure in its nearest minimum, many at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from ase import Atoms

from forcegate_client.constraints import hold
from forcegate_client.messages import Predictions
from forcegate_client.relaxation import relax_batched
from forcegate_client.relaxation.elsewhere import Minimum
from forcegate_client.relaxation.on_server import relax_by_requests
from forcegate_client.runs import RunRequest
from forcegate_client.screening.tasks import Computed, Evaluate, SinglePoint
from forcegate_client.structures import StructureBatch

__all__ = ["Relax"]

Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]


@runtime_checkable
class TakesSteps(Protocol):
    """What evaluates and may know a server that relaxes structures itself."""

    @property
    def takes_steps(self) -> bool:
        """Whether it does."""

    def minima(self, request: RunRequest) -> Iterator[tuple[int, Minimum]]:
        """What becomes of each structure of ``request``, in any order."""


@dataclass(frozen=True)
class Relax:
    """FIRE to forces below ``fmax`` (eV/Å); one more evaluation judges what came out.

    Coordinates that the input holds stay where they are. Structures that do not get there in
    ``max_steps`` have their row, with ``converged`` false.
    """

    fmax: float = 0.05
    max_steps: int = 500
    slots: int = 256
    keep_forces: bool = False
    name: str = "relax"
    columns: tuple[str, ...] = (*SinglePoint.columns, "start_energy", "steps", "converged")
    properties: tuple[str, ...] = SinglePoint.properties
    held: Bool | None = field(default=None, compare=False, repr=False)
    immovable: Mapping[int, Mapping[str, Any]] = field(default_factory=dict, compare=False)

    def settings(self) -> dict[str, Any]:
        """What its results depend on."""
        return {
            "task": self.name,
            "fmax": self.fmax,
            "max_steps": self.max_steps,
            "keep_forces": self.keep_forces,
        }

    def holding(self, held: Bool, immovable: Mapping[int, Mapping[str, Any]]) -> Relax:
        """The same for structures with ``held`` coordinates, as ``MovesAtoms`` has it."""
        return replace(self, held=held, immovable=immovable)

    def run(self, structures: StructureBatch, evaluate: Evaluate) -> Computed:
        """Relax all of them, then ask for energy, uncertainty and novelty of the minima."""
        problems: dict[int, dict[str, Any]] = {b: dict(p) for b, p in self.immovable.items()}
        movable = np.array([b for b in range(len(structures)) if b not in problems], dtype=np.int64)

        def forces_of(batch: StructureBatch) -> Predictions:
            return evaluate(batch, ("energy", "forces"))

        frames = self._constrained(structures, movable)
        asked: object = evaluate
        if isinstance(asked, TakesSteps) and asked.takes_steps:
            minima = relax_by_requests(
                *(frames, forces_of, asked.minima), fmax=self.fmax, max_steps=self.max_steps
            )
        else:
            minima = relax_batched(
                *(frames, forces_of),
                fmax=self.fmax,
                max_steps=self.max_steps,
                slots=self.slots,
            )
        relaxed = sorted(minima, key=lambda one: one.index)
        for one in relaxed:
            if one.problem is not None:
                problems[int(movable[one.index])] = dict(one.problem)
        good = [one for one in relaxed if one.problem is None]
        good_batch = StructureBatch.from_atoms([one.atoms for one in good])
        place = movable[np.array([one.index for one in good], dtype=np.int64)]
        judged = SinglePoint(self.keep_forces).run(good_batch, evaluate if good else _nothing)
        kept = [good[row] for row in judged.index.tolist()]
        columns = {
            **judged.columns,
            "start_energy": np.array([one.start_energy for one in kept], dtype=np.float64),
            "steps": np.array([one.steps for one in kept], dtype=np.int64),
            "converged": np.array([one.converged for one in kept], dtype=np.bool_),
        }
        problems |= {int(place[row]): dict(p) for row, p in judged.problems.items()}
        return Computed(
            index=place[judged.index],
            n_atoms=judged.n_atoms,
            columns=columns,
            positions=good_batch.select(judged.index).positions,
            forces=judged.forces,
            problems=problems,
            warnings={int(place[row]): texts for row, texts in judged.warnings.items()},
        )

    def _constrained(self, structures: StructureBatch, chosen: Int) -> list[Atoms]:
        atoms = structures.select(chosen).to_atoms()
        if self.held is not None:
            bounds = structures.offsets
            for b, one in zip(chosen.tolist(), atoms, strict=True):
                hold(one, self.held[bounds[b] : bounds[b + 1]])
        return atoms


def _nothing(_: StructureBatch, __: Any) -> Predictions:
    empty = np.zeros(0, dtype=np.int64)
    return Predictions(empty, empty)
