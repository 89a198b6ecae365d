"""Many structures as one flat set of arrays: the data model that all parts share.

Units and signs (the contract, referred to by everything that handles structures):

=====================  ==========================================================================
positions, cells       Å; the rows of a cell are its lattice vectors
energy                 eV
forces                 eV/Å
stress                 eV/Å³, Voigt order xx, yy, zz, yz, xz, xy; positive = tension (as in ASE)
virial                 eV; virial = −stress · volume
=====================  ==========================================================================

``B`` is the number of structures, ``N`` the number of atoms of all of them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from ase import Atoms

from forcegate_client.electrons import NEUTRAL_SINGLET, electrons_of
from forcegate_client.errors import ForcegateError

__all__ = ["StructureBatch"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class StructureBatch:
    """``B`` structures with ``N`` atoms in all, stored one after the other.

    ``n_atoms`` [B], ``atomic_numbers`` [N], ``positions`` [N, 3] in Å, ``cells`` [B, 3, 3] in Å
    (zero rows where there is no lattice vector), ``pbc`` [B, 3], ``charges`` [B] in e,
    ``multiplicities`` [B] (2S + 1).
    """

    n_atoms: Int
    atomic_numbers: Int
    positions: Float
    cells: Float
    pbc: Bool
    charges: Int
    multiplicities: Int

    @classmethod
    def from_arrays(
        cls,
        n_atoms: npt.ArrayLike,
        atomic_numbers: npt.ArrayLike,
        positions: npt.ArrayLike,
        cells: npt.ArrayLike | None = None,
        pbc: npt.ArrayLike | None = None,
        charges: npt.ArrayLike | None = None,
        multiplicities: npt.ArrayLike | None = None,
    ) -> StructureBatch:
        """Bring arrays to the declared types and contiguous layout; fill in what is optional.

        Without ``cells`` and ``pbc`` the structures are open; without ``charges`` and
        ``multiplicities`` they are neutral singlets.

        Raises:
            ValueError: if the lengths contradict each other.
        """
        counts = np.ascontiguousarray(n_atoms, dtype=np.int64)
        size = counts.shape[0] if counts.ndim == 1 else -1
        batch = cls(
            n_atoms=counts,
            atomic_numbers=np.ascontiguousarray(atomic_numbers, dtype=np.int64),
            positions=np.ascontiguousarray(positions, dtype=np.float64),
            cells=_array_or(cells, np.zeros((max(size, 0), 3, 3))),
            pbc=_array_or(pbc, np.zeros((max(size, 0), 3), dtype=np.bool_)),
            charges=_array_or(charges, np.zeros(max(size, 0), dtype=np.int64)),
            multiplicities=_array_or(multiplicities, np.ones(max(size, 0), dtype=np.int64)),
        )
        batch._check_shapes()
        return batch

    @classmethod
    def open_neutral(cls, n_atoms: Int, atomic_numbers: Int, positions: Float) -> StructureBatch:
        """Open structures, neutral singlets, of arrays that are known to be right.

        Nothing is checked; what all such structures share must not be written to.
        """
        return cls(n_atoms, atomic_numbers, positions, *_open_neutral(len(n_atoms)))

    @classmethod
    def from_atoms(cls, structures: Sequence[Atoms]) -> StructureBatch:
        """Collect ASE structures; charge and multiplicity are those of ``electrons_of``.

        Raises:
            InvalidStructure: if those of one cannot be read; ``structure`` is its index.
        """
        electrons = _electrons(structures)
        return cls.from_arrays(
            n_atoms=[len(atoms) for atoms in structures],
            atomic_numbers=_concatenate([atoms.numbers for atoms in structures], (0,)),
            positions=_concatenate([atoms.positions for atoms in structures], (0, 3)),
            cells=np.array([atoms.cell.array for atoms in structures]).reshape(-1, 3, 3),
            pbc=np.array([atoms.pbc for atoms in structures], dtype=np.bool_).reshape(-1, 3),
            charges=[charge for charge, _ in electrons],
            multiplicities=[multiplicity for _, multiplicity in electrons],
        )

    def __len__(self) -> int:
        return int(self.n_atoms.shape[0])

    @property
    def total_atoms(self) -> int:
        """Number of atoms of all structures together, N."""
        return int(self.atomic_numbers.shape[0])

    @property
    def offsets(self) -> Int:
        """[B + 1]; the atoms of structure ``b`` are ``offsets[b]:offsets[b + 1]``."""
        return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(self.n_atoms)])

    @property
    def structure_index(self) -> Int:
        """[N]; the structure that each atom belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.n_atoms)

    def select(self, indices: npt.ArrayLike) -> StructureBatch:
        """Structures ``indices`` [K], in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        counts = self.n_atoms[chosen]
        atoms = segments(self.offsets[chosen], counts)
        return StructureBatch(
            n_atoms=counts,
            atomic_numbers=self.atomic_numbers[atoms],
            positions=self.positions[atoms],
            cells=self.cells[chosen],
            pbc=self.pbc[chosen],
            charges=self.charges[chosen],
            multiplicities=self.multiplicities[chosen],
        )

    @staticmethod
    def concatenate(batches: Sequence[StructureBatch]) -> StructureBatch:
        """All structures of ``batches`` (at least one batch), in order."""
        names = [field.name for field in fields(StructureBatch)]
        return StructureBatch(
            **{name: np.concatenate([getattr(batch, name) for batch in batches]) for name in names}
        )

    def to_atoms(self) -> list[Atoms]:
        """One ASE structure each; ``info`` says what is not a neutral singlet."""
        bounds = self.offsets
        return [
            Atoms(
                numbers=self.atomic_numbers[bounds[b] : bounds[b + 1]],
                positions=self.positions[bounds[b] : bounds[b + 1]],
                cell=self.cells[b],
                pbc=self.pbc[b],
                info=_info(int(self.charges[b]), int(self.multiplicities[b])),
            )
            for b in range(len(self))
        ]

    def _check_shapes(self) -> None:
        size = len(self) if self.n_atoms.ndim == 1 else -1
        if size < 0:
            raise ValueError(f"n_atoms has shape {self.n_atoms.shape}, expected (B,)")
        if np.count_nonzero(self.n_atoms < 0):
            raise ValueError("n_atoms contains a negative count")
        total = int(self.n_atoms.sum())
        expected: dict[str, tuple[int, ...]] = {
            "atomic_numbers": (total,),
            "positions": (total, 3),
            "cells": (size, 3, 3),
            "pbc": (size, 3),
            "charges": (size,),
            "multiplicities": (size,),
        }
        for name, shape in expected.items():
            received = getattr(self, name).shape
            if received != shape:
                raise ValueError(
                    f"{name} has shape {received}, expected {shape} for {size} structures "
                    f"with {total} atoms in all"
                )


def _electrons(structures: Sequence[Atoms]) -> list[tuple[int, int]]:
    found = []
    for index, atoms in enumerate(structures):
        try:
            found.append(electrons_of(atoms))
        except ForcegateError as error:
            error.structure = index
            raise
    return found


def _info(charge: int, multiplicity: int) -> dict[str, int]:
    if (charge, multiplicity) == NEUTRAL_SINGLET:
        return {}
    return {"charge": charge, "multiplicity": multiplicity}


def _open_neutral(size: int) -> tuple[Float, Bool, Int, Int]:
    """Cells, pbc, charges and multiplicities; those of single structures are made once."""
    return _ONE if size == 1 else _made_open_neutral(size)


def _made_open_neutral(size: int) -> tuple[Float, Bool, Int, Int]:
    return (
        np.zeros((size, 3, 3)),
        np.zeros((size, 3), dtype=np.bool_),
        np.zeros(size, dtype=np.int64),
        np.ones(size, dtype=np.int64),
    )


_ONE = _made_open_neutral(1)
for _shared in _ONE:
    _shared.setflags(write=False)


def segments(starts: Int, lengths: Int) -> Int:
    """Indices ``start, start + 1, …`` of several runs, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    indices: Int = np.arange(total, dtype=np.int64) + np.repeat(starts - ends + lengths, lengths)
    return indices


def _array_or(values: npt.ArrayLike | None, default: npt.NDArray[np.generic]) -> npt.NDArray:  # type: ignore[type-arg]
    return default if values is None else np.ascontiguousarray(values, dtype=default.dtype)


def _concatenate(
    arrays: Sequence[npt.NDArray[np.generic]], empty: tuple[int, ...]
) -> npt.ArrayLike:
    return np.concatenate(arrays) if len(arrays) else np.zeros(empty)
