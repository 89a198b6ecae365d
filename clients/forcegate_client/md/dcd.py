"""Trajectories in the DCD format of CHARMM and NAMD, which VMD, PyMOL, MDAnalysis and others read.

Fortran records: a header of 84 bytes, a title, the number of atoms; then for each frame the cell
(A, γ, B, β, α, C in Å and degrees) and x, y, z as float32 in Å. No elements: the molecule comes
from another file.
"""

from __future__ import annotations

import struct
from pathlib import Path
from types import TracebackType

import numpy as np
from ase import Atoms

__all__ = ["DCDWriter"]

# CHARMM's unit of time, 48.88821 fs, in which the header has the timestep.
_AKMA_FS = 48.88821
_VERSION = 24
# Two lines, and a word by which ASE knows a file that is laid out like this.
_TITLE = b"forcegate, laid out as by CP2K".ljust(160)
_COUNT_AT = 8
_FIRST_FRAME = (84 + 8) + (4 + 160 + 8) + (4 + 8)


class DCDWriter:
    """Frames ``every`` steps of ``timestep_fs`` apart, appended after the first ``keep``."""

    def __init__(
        self, path: Path, n_atoms: int, timestep_fs: float, every: int, keep: int = 0
    ) -> None:
        self._n_atoms = n_atoms
        self._file = path.open("r+b" if keep else "wb")
        if not keep:
            self._file.write(_header(n_atoms, timestep_fs, every))
        self._count = keep
        self._file.truncate(_FIRST_FRAME + keep * self._frame_bytes)
        self._write_count()

    @property
    def _frame_bytes(self) -> int:
        return (48 + 8) + 3 * (4 * self._n_atoms + 8)

    def write(self, atoms: Atoms) -> None:
        """Add one frame."""
        a, b, c, alpha, beta, gamma = atoms.cell.cellpar() if atoms.cell.rank == 3 else [0.0] * 6
        body = _record(struct.pack("<6d", a, gamma, b, beta, alpha, c))
        for axis in atoms.positions.T:
            body += _record(np.ascontiguousarray(axis, dtype="<f4").tobytes())
        self._file.write(body)
        self._count += 1
        self._write_count()

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def __enter__(self) -> DCDWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def _write_count(self) -> None:
        """Readers believe the header: it is right after every frame."""
        self._file.seek(_COUNT_AT)
        self._file.write(struct.pack("<i", self._count))
        self._file.seek(0, 2)
        self._file.flush()


def _header(n_atoms: int, timestep_fs: float, every: int) -> bytes:
    fields = [0] * 20
    fields[2] = every
    fields[10] = 1
    fields[19] = _VERSION
    packed = bytearray(struct.pack("<20i", *fields))
    packed[36:40] = struct.pack("<f", timestep_fs / _AKMA_FS)
    title = struct.pack("<i", 2) + _TITLE
    return _record(b"CORD" + bytes(packed)) + _record(title) + _record(struct.pack("<i", n_atoms))


def _record(body: bytes) -> bytes:
    length = struct.pack("<i", len(body))
    return length + body + length
