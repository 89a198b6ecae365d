"""What commands read, and what is already on disk and must not be lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ase import Atoms
from ase.io import write
from rich.progress import Progress

from forcegate_client.cli.console import CommandError, err_console, warn
from forcegate_client.reading.formats import COMPRESSED
from forcegate_client.reading.inputs import Input, named_inputs
from forcegate_client.reading.library import Library
from forcegate_client.reading.record import Record

__all__ = [
    "opened",
    "prepare_directory",
    "prepare_file",
    "records_of",
    "stem_of",
    "write_extxyz",
]

_AT_ONCE = 64


@contextmanager
def opened(
    names: Sequence[str] | None, smiles: Sequence[str] | None, format: str | None
) -> Iterator[list[Input]]:
    """What a command's arguments name, with a folder for what comes from a stream.

    Raises:
        InputUnreadable: if there is nothing, or a name stands for nothing.
    """
    with TemporaryDirectory(prefix="forcegate-") as spool:
        inputs, skipped = named_inputs(names or (), Path(spool), smiles=smiles or (), format=format)
        if skipped:
            warn(
                f"{len(skipped)} files of unknown format are left out: {', '.join(skipped[:5])}"
                f"{' …' if len(skipped) > 5 else ''}"
            )
        yield inputs


def stem_of(inputs: Sequence[Input]) -> str:
    """What results are called after if nobody says: the file, if there is but one."""
    if len(inputs) > 1:
        return "structures"
    name = Path(inputs[0].name).name.strip("-") or "stdin"
    while Path(name).suffix in COMPRESSED:
        name = Path(name).stem
    return Path(name).stem


def records_of(library: Library) -> Iterator[Record]:
    """All records; a bar shows how far it is, as SMILES take their time."""
    with Progress(console=err_console(), transient=True) as progress:
        task = progress.add_task("reading", total=library.size)
        for start in range(0, library.size, _AT_ONCE):
            records = library.read(start, min(start + _AT_ONCE, library.size))
            progress.advance(task, len(records))
            yield from records


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
