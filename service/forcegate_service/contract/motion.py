"""Structures that move: what a runtime is asked to advance, and how far it came.

A run is advanced in chunks of steps, and everything that it goes on from is in the chunk: a runtime
keeps nothing. Chunks of many runs are one chunk, in which each goes the way that it goes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["DESCENT", "ENSEMBLE", "Chunk", "Moved", "Mover", "StartMoving"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

ENSEMBLE = np.dtype(
    [
        *(("steps", "<i8"), ("start_step", "<i8"), ("timestep_fs", "<f8")),
        *(("temperature_k", "<f8"), ("friction_per_fs", "<f8"), ("seed", "<u8"), ("stream", "<i8")),
    ]
)
"""Of a run of dynamics: the steps to take, from which one on, and how."""
DESCENT = np.dtype(
    [
        *(("steps", "<i8"), ("fmax", "<f8"), ("step", "<f8"), ("mixing", "<f8")),
        *(("downhill", "<i4"), ("started", "<i4")),
    ]
)
"""Of a relaxation: the steps to take at most, its limit (eV/Å), and where FIRE is."""

_F64, _I64, _BOOL = np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.bool_)
# Type and numbers of each atom (N) or structure (B).
_ATOMS: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
    "atomic_numbers": (_I64, ()),
    "masses": (_F64, ()),
    "fixed": (_BOOL, ()),
    **dict.fromkeys(("positions", "velocities", "forces"), (_F64, (3,))),
    **dict.fromkeys(("atom_novelty", "charges"), (_F64, ())),
}
_STRUCTURES: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
    "n_atoms": (_I64, ()),
    "cells": (_F64, (3, 3)),
    "pbc": (_BOOL, (3,)),
    "converged": (_BOOL, ()),
    **dict.fromkeys(("energy", "energy_uncertainty"), (_F64, ())),
}


class Chunk(NamedTuple):
    """``B`` runs of ``N`` atoms, all of dynamics or all of FIRE.

    ``each`` [B] is an ``ENSEMBLE`` or a ``DESCENT``; ``n_atoms`` [B], ``cells`` [B, 3, 3] in Å,
    ``pbc`` [B, 3]; ``atomic_numbers`` [N], ``positions`` [N, 3] in Å, ``velocities`` [N, 3] in Å/fs
    or FIRE's own, ``forces`` [N, 3] in eV/Å at the positions, ``masses`` [N] in u, ``fixed`` [N].
    """

    method: Literal["dynamics", "fire"]
    each: npt.NDArray[np.void]
    n_atoms: Int
    cells: Float
    pbc: Bool
    atomic_numbers: Int
    positions: Float
    velocities: Float
    forces: Float
    masses: Float
    fixed: Bool

    @staticmethod
    def joined(chunks: Sequence[Chunk]) -> Chunk:
        """All runs of ``chunks``, at least one, which are of one method."""
        if len(chunks) == 1:
            return chunks[0]
        columns = zip(*(chunk[1:] for chunk in chunks), strict=True)
        return Chunk(chunks[0].method, *map(np.concatenate, columns))

    def part(self, runs: slice | Bool) -> Chunk:
        """Those ``runs`` of it."""
        atoms = atoms_of(runs, self.n_atoms)
        named: dict[str, Any] = {
            name: values[atoms if name in _ATOMS else runs]
            for name, values in zip(self._fields[1:], self[1:], strict=True)
        }
        return Chunk(self.method, **named)

    def packed(self) -> list[Any]:
        """As a list of text, numbers and buffers."""
        return [self.method, len(self.n_atoms), len(self.atomic_numbers), *map(_bytes, self[1:])]

    @classmethod
    def unpacked(cls, parts: Sequence[Any]) -> Chunk:
        """From what ``packed`` gave."""
        method, size, total, *buffers = parts
        each = ENSEMBLE if method == "dynamics" else DESCENT
        return cls(method, *_arrays(cls._fields[1:], buffers, size, total, each))


class Moved(NamedTuple):
    """Where the runs of a chunk are, all arrays as in ``Chunk`` and as a model answers.

    ``each`` holds the steps that were taken, and where FIRE is; ``converged`` [B] of FIRE.
    ``failed`` are the runs that could not be moved and are where they were: code and text.
    """

    each: npt.NDArray[np.void]
    converged: Bool
    positions: Float
    velocities: Float
    forces: Float
    energy: Float
    energy_uncertainty: Float
    atom_novelty: Float
    charges: Float | None
    failed: dict[int, tuple[str, str]]

    def part(self, run: int, atoms: slice) -> Moved:
        """One run of it."""
        runs = slice(run, run + 1)
        failed = {0: self.failed[run]} if run in self.failed else {}
        values = (
            None if values is None else values[atoms if name in _ATOMS else runs]
            for name, values in zip(self._fields[:-1], self[:-1], strict=True)
        )
        return Moved._make([*values, failed])

    @staticmethod
    def joined(parts: Sequence[Moved]) -> Moved:
        """All runs of ``parts``, at least one."""
        failed: dict[int, tuple[str, str]] = {}
        before = 0
        for part in parts:
            failed |= {before + run: why for run, why in part.failed.items()}
            before += len(part.energy)
        columns = (
            None if values[0] is None else np.concatenate(values)
            for values in zip(*(part[:-1] for part in parts), strict=True)
        )
        return Moved._make([*columns, failed])

    @staticmethod
    def nowhere(chunk: Chunk, charges: bool, why: tuple[str, str] | None = None) -> Moved:
        """The runs of ``chunk`` where they are; all of them failed if it is told ``why``."""
        size, total = len(chunk.n_atoms), len(chunk.atomic_numbers)
        each = chunk.each.copy()
        each["steps"] = 0
        return Moved(
            *(each, np.zeros(size, dtype=np.bool_)),
            *(chunk.positions.copy(), chunk.velocities.copy(), chunk.forces.copy()),
            *(np.full(size, np.nan), np.full(size, np.nan), np.full(total, np.nan)),
            np.full(total, np.nan) if charges else None,
            {} if why is None else dict.fromkeys(range(size), why),
        )

    def packed(self) -> list[Any]:
        """As a list of numbers, text and buffers."""
        size, total = len(self.energy), len(self.atom_novelty)
        failed = [[run, *why] for run, why in self.failed.items()]
        return [size, total, failed, *(v if v is None else _bytes(v) for v in self[:-1])]

    @classmethod
    def unpacked(cls, parts: Sequence[Any], chunk: Chunk) -> Moved:
        """From what ``packed`` gave, of the runs of ``chunk``.

        Raises:
            ValueError: if it is of others.
        """
        size, total, failed, *buffers = parts
        if (size, total) != (len(chunk.n_atoms), len(chunk.atomic_numbers)):
            raise ValueError(f"{size} runs of {total} atoms, which were not asked for")
        named = cls._fields[:-1]
        values = _arrays(named, buffers, size, total, chunk.each.dtype)
        return cls._make([*values, {run: (code, text) for run, code, text in failed}])


class Mover(Protocol):
    """What a runtime may have beside ``evaluate``."""

    @property
    def moves(self) -> bool:
        """Whether it can advance runs itself; if not, nobody calls ``advance``."""

    def advance(self, chunk: Chunk) -> Moved:
        """The runs of ``chunk`` some steps further.

        Raises:
            RuntimeFault: if that failed for all of them.
            RuntimeUnavailable: if nobody is there to advance anything.
        """


StartMoving = Callable[[Chunk, Callable[[Any, float], None]], bool]
"""``start_moving``, which is to ``advance`` as ``Start`` is to ``evaluate``."""


def atoms_of(runs: slice | Bool, n_atoms: Int) -> slice | Bool:
    """Which atoms belong to ``runs``."""
    if isinstance(runs, slice):
        ends = np.concatenate([[0], np.cumsum(n_atoms)])
        start, stop, _ = runs.indices(len(n_atoms))
        return slice(int(ends[start]), int(ends[max(start, stop)]))
    return np.repeat(runs, n_atoms)


def _bytes(values: npt.NDArray[Any]) -> bytes:
    return np.ascontiguousarray(values).tobytes()


def _arrays(
    names: Sequence[str], buffers: Sequence[Any], size: int, total: int, each: np.dtype[Any]
) -> list[Any]:
    found: list[Any] = []
    for name, data in zip(names, buffers, strict=True):
        if data is None:
            found.append(None)
            continue
        of_atoms = name in _ATOMS
        dtype, width = (each, ()) if name == "each" else (_ATOMS if of_atoms else _STRUCTURES)[name]
        found.append(np.frombuffer(data, dtype).reshape(total if of_atoms else size, *width))
    return found
