"""Trajectory files of a run, each of which can be cut back and gone on with."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Protocol

from ase import Atoms
from ase.io import iread, write
from ase.io.trajectory import Trajectory

from forcegate_client.md.dcd import DCDWriter
from forcegate_client.md.nve import snapshot
from forcegate_client.writing.files import replacing

__all__ = ["TrajectoryFormat", "TrajectoryWriter", "open_trajectory"]


class TrajectoryFormat(StrEnum):
    """ASE's own format; extended XYZ, which OVITO reads; DCD, which VMD, PyMOL and others read."""

    TRAJ = "traj"
    EXTXYZ = "extxyz"
    DCD = "dcd"


class TrajectoryWriter(Protocol):
    """An open file of frames."""

    def write(self, atoms: Atoms) -> None:
        """Add one frame; when this returns it survives the process."""

    def close(self) -> None:
        """End the file."""


def open_trajectory(
    path: Path, kind: TrajectoryFormat, n_atoms: int, timestep_fs: float, every: int, keep: int
) -> TrajectoryWriter:
    """A file at ``path`` with its first ``keep`` frames, ready for more; ``every`` counts steps.

    Raises:
        OutputUnwritable: if there is no room to cut it back.
    """
    keep = keep if path.is_file() else 0
    if kind is TrajectoryFormat.DCD:
        return DCDWriter(path, n_atoms, timestep_fs, every, keep)
    if keep:
        _cut_back(path, kind, keep)
    elif path.is_file():
        path.unlink()
    return _AseFile(path) if kind is TrajectoryFormat.TRAJ else _ExtendedXYZ(path)


def _cut_back(path: Path, kind: TrajectoryFormat, keep: int) -> None:
    """A run that was stopped may have written frames after its last checkpoint."""
    if not _has_more(path, kind, keep):
        return
    with replacing(path) as aside:
        writer = _AseFile(aside) if kind is TrajectoryFormat.TRAJ else _ExtendedXYZ(aside)
        for frame in islice(iread(path, index=":", format=kind.value), keep):
            writer.write(frame)
        writer.close()


def _has_more(path: Path, kind: TrajectoryFormat, keep: int) -> bool:
    frames = iread(path, index=":", format=kind.value)
    for _ in islice(frames, keep):
        pass
    try:
        return next(frames, None) is not None
    except Exception:
        # Half a frame, of a run that was stopped while it wrote it; readers differ in what they
        # make of one.
        return True


class _AseFile:
    def __init__(self, path: Path) -> None:
        self._file = Trajectory(str(path), "a")

    def write(self, atoms: Atoms) -> None:
        self._file.write(atoms)

    def close(self) -> None:
        self._file.close()


class _ExtendedXYZ:
    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, atoms: Atoms) -> None:
        # The copy's calculator has energy and forces and nothing that the format does not know.
        write(self._file, snapshot(atoms), format="extxyz")
        self._file.flush()

    def close(self) -> None:
        self._file.close()
