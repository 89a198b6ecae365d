"""Read structures from any file that ASE knows, and guard what is already on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from ase import Atoms
from ase.io import iread, write

from forcegate_client.cli.console import CommandError

__all__ = ["prepare_directory", "prepare_file", "read_frame", "read_frames", "write_extxyz"]


def read_frames(path: Path) -> list[Atoms]:
    """All frames of a file.

    Raises:
        CommandError: if there is no such file, ASE cannot read it, or it holds no atoms.
    """
    if not path.is_file():
        raise CommandError(f"no file {path}; expected a structure file that ASE reads")
    try:
        frames = list(iread(path, index=":"))
    except Exception as error:
        # ASE's readers fail in many ways, from StopIteration to IndexError; all mean the same.
        why = str(error) or type(error).__name__
        raise CommandError(f"ASE cannot read {path} ({why}); is it complete?") from error
    if not frames or not all(len(frame) for frame in frames):
        raise CommandError(f"{path} holds {len(frames)} frames, some or all without atoms")
    return frames


def read_frame(path: Path, index: int) -> Atoms:
    """One frame of a file.

    Raises:
        CommandError: as ``read_frames``, or if there is no such frame.
    """
    frames = read_frames(path)
    try:
        return frames[index]
    except IndexError:
        raise CommandError(
            f"{path} holds {len(frames)} frames, there is no frame {index}"
        ) from None


def prepare_file(path: Path, overwrite: bool) -> Path:
    """The path of a file to write.

    Raises:
        CommandError: if it exists and must not be replaced, or its folder does not exist.
    """
    if path.exists() and not overwrite:
        raise CommandError(f"{path} exists; choose another --out or add --overwrite")
    if not path.parent.is_dir():
        raise CommandError(f"no folder {path.parent} to write {path.name} into")
    return path


def prepare_directory(path: Path, overwrite: bool, marker: str) -> Path:
    """A new, empty directory to write into.

    With ``overwrite`` an earlier one is removed, if ``marker`` shows that it is the result of the
    same command: a mistyped ``--out`` must not delete somebody's home.

    Raises:
        CommandError: if it exists and must not be replaced.
    """
    used = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    if used and not overwrite:
        raise CommandError(f"{path} exists; choose another --out or add --overwrite")
    if used and not (path / marker).is_file():
        raise CommandError(f"{path} holds no {marker}, so it is not replaced")
    if used:
        shutil.rmtree(path)
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_extxyz(path: Path, frames: list[Atoms]) -> None:
    """All frames in extended XYZ, with what their calculators hold."""
    write(path, frames, format="extxyz")
