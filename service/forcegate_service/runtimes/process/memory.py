"""The memory through which structures and answers pass between two processes."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["StructureMemory"]

Array = npt.NDArray[Any]

_ALIGNMENT = 64
# Memory beyond this is given back by the next batch that needs much less.
_KEPT_BYTES = 64 * 1024 * 1024
_SMALLEST_BYTES = 1024 * 1024


class StructureMemory:
    """A file without a name, mapped by both sides: the arrays of structures, and of their answer.

    Every array is contiguous and of the contract's type, so whatever is copied in has passed the
    gate. One side calls ``fit`` before it fills the arrays and tells the other the result.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._capacity = 0
        self._map: mmap.mmap | None = None
        self._size = (-1, -1)
        self._views: tuple[tuple[Array, ...], tuple[Array, ...]] = ((), ())

    @classmethod
    def create(cls) -> StructureMemory:
        """New memory; whoever inherits the descriptor sees the same."""
        if hasattr(os, "memfd_create"):
            return cls(os.memfd_create("forcegate-structures"))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def fit(self, atoms: int, structures: int) -> int:
        """Make room for so many; returns the capacity in bytes."""
        if (atoms, structures) == self._size:
            return self._capacity
        inputs, outputs = _layout(atoms, structures)
        needed = sum(map(_padded_bytes, inputs + outputs))
        wasteful = self._capacity > _KEPT_BYTES and needed < self._capacity // 4
        if needed > self._capacity or wasteful:
            # To a power of two, so that growing molecules do not map anew at every step.
            capacity = max(_SMALLEST_BYTES, 1 << (needed - 1).bit_length())
            os.ftruncate(self.descriptor, capacity)
            self.map(capacity)
        return self._capacity

    def map(self, capacity: int) -> None:
        """See the memory at the size that the other side has given it."""
        if capacity != self._capacity:
            self._map = mmap.mmap(self.descriptor, capacity)
            self._capacity = capacity
            self._size = (-1, -1)

    def arrays(self, atoms: int, structures: int) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The inputs and outputs of so many, as views of the memory."""
        # A step of dynamics is as large as the one before.
        if (atoms, structures) == self._size:
            return self._views
        inputs, outputs = _layout(atoms, structures)
        offset, views = 0, []
        for field in inputs + outputs:
            shape, dtype = field
            views.append(np.ndarray(shape, dtype, buffer=self._map, offset=offset))
            offset += _padded_bytes(field)
        self._size = atoms, structures
        self._views = tuple(views[: len(inputs)]), tuple(views[len(inputs) :])
        return self._views

    def close(self) -> None:
        """Give the memory back once nobody looks at it any more."""
        self._views = ((), ())
        self._map = None
        os.close(self.descriptor)


_F64, _I64, _BOOL = np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.bool_)
_Field = tuple[tuple[int, ...], "np.dtype[Any]"]


def _layout(atoms: int, structures: int) -> tuple[tuple[_Field, ...], tuple[_Field, ...]]:
    """Shape and type of each array: of ``Structures``, and of a ``ModelOutput``."""
    inputs: tuple[_Field, ...] = (
        ((atoms, 3), _F64),
        ((atoms,), _I64),
        ((structures,), _I64),
        ((structures, 3, 3), _F64),
        ((structures, 3), _BOOL),
    )
    outputs: tuple[_Field, ...] = (
        ((structures,), _F64),
        ((atoms, 3), _F64),
        ((structures, 3, 3), _F64),
        ((structures,), _F64),
        ((atoms,), _F64),
        ((atoms,), _F64),
    )
    return inputs, outputs


def _padded_bytes(field: _Field) -> int:
    shape, dtype = field
    return -(-math.prod(shape) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT
