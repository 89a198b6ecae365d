"""What commands read, and what is already on disk and must not be lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ase import Atoms
from rich.progress import Progress

from forcegate_client.cli.console import CommandError, counted, err_console, warn
from forcegate_client.reading.formats import COMPRESSED
from forcegate_client.reading.inputs import Input, named_inputs
from forcegate_client.reading.library import Library
from forcegate_client.reading.record import Record
from forcegate_client.writing.extxyz import write_frames
from forcegate_client.writing.files import require_writable

__all__ = [
    "opened",
    "partial_name",
    "prepare_file",
    "records_of",
    "save_frames",
    "stem_of",
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
            names = ", ".join(skipped[:5]) + (" …" if len(skipped) > 5 else "")
            warn(f"{counted(len(skipped), 'file')} of unknown format left out: {names}")
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
        CommandError: if it exists and must not be replaced.
        OutputUnwritable: if nothing can be written there.
    """
    if path.is_file() and not overwrite:
        raise CommandError(f"{path} exists; choose another --out or add --overwrite")
    require_writable(path)
    return path


def partial_name(path: Path) -> Path:
    """Where the part of a result is put while ``path`` holds a whole one of earlier."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def save_frames(path: Path, frames: Sequence[Atoms], *, complete: bool) -> Path:
    """Write extended XYZ to ``path``, and give the path; a part never replaces a whole.

    Raises:
        OutputUnwritable: if that cannot be done; an earlier file is as it was.
    """
    aside = partial_name(path)
    place = path if complete or not path.is_file() else aside
    write_frames(place, frames)
    if complete:
        aside.unlink(missing_ok=True)
    return place
