"""Who looks at every answer, after it has left, and what is to be seen of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from forcegate_client.errors import ForcegateError
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.contract.structures import Structures

__all__ = ["HearsOfUnloading", "Observer", "Outcome", "Row", "Served"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Served:
    """A request that was computed: the model, what was asked, what came out, and who asked.

    ``index`` [K] are those of the ``asked`` structures that were computed, ascending. They were
    evaluated in ``parts``, of which each has one of ``outputs``. ``failed`` are the structures
    without a good answer, by their index in the request; ``caller`` is the id of a key, or
    ``anonymous``.
    """

    card: ModelCard
    asked: StructureBatch
    index: Int
    parts: Sequence[Structures]
    outputs: Sequence[ModelOutput]
    failed: Mapping[int, ForcegateError]
    caller: str


class Observer(Protocol):
    """Hears of every request on the event loop, after its answer was written.

    It must be quick, bounded in memory, and may not change what it is shown. What it raises is
    logged and forgotten: nobody's prediction depends on it.
    """

    def served(self, seen: Served) -> None:
        """A request was computed."""

    def close(self) -> None:
        """The gateway stops: write what is to be kept."""


@runtime_checkable
class HearsOfUnloading(Protocol):
    """An observer that keeps something for each version."""

    def unloaded(self, card: ModelCard) -> None:
        """The version of ``card`` is not served any more; all of its answers were shown."""


@dataclass(frozen=True, eq=False)
class Row:
    """One structure, in arrays of its own: ``positions`` in Å, ``energy`` in eV, ``forces`` in
    eV/Å.
    """

    atomic_numbers: Int
    positions: Float
    energy: float
    forces: Float

    @property
    def open_shell(self) -> bool:
        """Whether the neutral structure has an odd number of electrons."""
        return bool(np.sum(self.atomic_numbers) % 2)


class Outcome:
    """K computed structures of a request; ``index`` [K] are theirs in the request."""

    def __init__(self, seen: Served) -> None:
        self._batch = seen.asked
        self._outputs = seen.outputs
        self.index = seen.index
        self.n_atoms = self._batch.n_atoms[self.index]
        self.failed: Bool | None = None
        if seen.failed:
            self.failed = np.isin(self.index, list(seen.failed))

    @cached_property
    def periodic(self) -> Bool:
        """[K]; whether a structure is periodic along any axis."""
        found: Bool = np.logical_or.reduce(self._batch.pbc[self.index], axis=1)
        return found

    @cached_property
    def energy_uncertainty(self) -> Float:
        """[K] in eV."""
        return _joined([output.energy_uncertainty for output in self._outputs])

    @cached_property
    def max_novelty(self) -> Float:
        """[K]; that of the most novel atom."""
        novelty = _joined([output.atom_novelty for output in self._outputs])
        largest: Float = np.maximum.reduceat(novelty, self._first_atoms)
        return largest

    def row(self, k: int) -> Row:
        """The ``k``-th computed structure, copied."""
        start = int(self._batch.n_atoms[: self.index[k]].sum())
        asked = slice(start, start + int(self.n_atoms[k]))
        first = int(self._first_atoms[k])
        return Row(
            atomic_numbers=self._batch.atomic_numbers[asked].copy(),
            positions=self._batch.positions[asked].copy(),
            energy=float(self._energy[k]),
            forces=self._forces[first : first + int(self.n_atoms[k])].copy(),
        )

    @cached_property
    def _first_atoms(self) -> Int:
        return np.cumsum(self.n_atoms) - self.n_atoms

    @cached_property
    def _energy(self) -> Float:
        return _joined([output.energy for output in self._outputs])

    @cached_property
    def _forces(self) -> Float:
        return _joined([output.forces for output in self._outputs])


def _joined(columns: Sequence[Float]) -> Float:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)
