"""The structures of a request beside what the model said of each: columns, and single rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from forcegate_service.watch.observer import Served

__all__ = ["Outcome", "Row"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


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
        self._batch = seen.prepared.request.structures
        self._outputs = [answer.output for answer in seen.answers]
        self.index = seen.prepared.index
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


def _joined(columns: list[Float]) -> Float:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)
