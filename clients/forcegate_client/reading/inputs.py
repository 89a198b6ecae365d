"""What is named on a command line as a list of files: folders, patterns, standard input, SMILES."""

from __future__ import annotations

import glob
import hashlib
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from forcegate_client.reading.errors import InputUnreadable
from forcegate_client.reading.formats import format_of, is_known

__all__ = ["Input", "as_inputs", "named_inputs"]

STDIN = "-"
_SMILES_LIKE = re.compile(r"[A-Za-z0-9@+\-\[\]()=#$:/\\%.*~]+")


@dataclass(frozen=True)
class Input:
    """``path`` holds the bytes; ``name`` is what a person called it; ``format`` how to read it."""

    path: Path
    name: str
    format: str
    temporary: bool = False

    def kept_in(self, folder: Path) -> Input:
        """Itself; what was read from a stream, as a copy in ``folder`` that is there later on."""
        if not self.temporary:
            return self
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        target = folder / f"input-{digest[:12]}-{self.path.name}"
        shutil.copyfile(self.path, target)
        return Input(target, self.name, self.format)

    def to_json(self) -> dict[str, str]:
        """As a manifest has it."""
        return {"path": str(self.path.resolve()), "name": self.name, "reader": self.format}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Input:
        """What ``to_json`` wrote."""
        return cls(Path(entry["path"]), entry["name"], entry["reader"])


def as_inputs(items: Sequence[str | Path | Input]) -> list[Input]:
    """Paths as inputs whose format follows from the end of their name.

    Raises:
        InputUnreadable: if there are none, or one of them is no file.
    """
    found = []
    for item in items:
        if not isinstance(item, Input):
            path = Path(item)
            if not path.is_file():
                raise _missing(str(item))
            item = Input(path, str(item), format_of(path))
        found.append(item)
    if not found:
        raise InputUnreadable(
            "no input",
            expected="at least one file with structures",
            action="name a file, a folder, '-' for standard input, or --smiles",
        )
    return found


def named_inputs(
    names: Sequence[str],
    spool: Path,
    *,
    smiles: Sequence[str] = (),
    format: str | None = None,
    stdin: BinaryIO | None = None,
) -> tuple[list[Input], list[str]]:
    """The files that ``names`` stand for, and those in folders that hold no known format.

    A name is a file, a folder (its files in alphabetical order), a pattern such as ``'*/x?.sdf'``,
    or ``-`` for standard input. What cannot be read twice, and each of ``smiles``, goes into a file
    in ``spool``. With ``format`` all of them are of that format, whatever their names say.

    Raises:
        InputUnreadable: if there is nothing, or a name stands for nothing.
    """
    found: list[Input] = []
    skipped: list[str] = []
    for number, name in enumerate(names):
        if name == STDIN or _is_stream(Path(name)):
            found.append(_spooled(name, spool / f"{number}.{format}", format, stdin))
            continue
        found += [
            Input(path, str(path), format_of(path, format))
            for path in _paths(name, skipped, any_format=format is not None)
        ]
    if smiles:
        path = spool / "smiles.smi"
        path.write_text("".join(f"{text}\n" for text in smiles), encoding="utf-8")
        found.append(Input(path, "--smiles", "smi", temporary=True))
    return as_inputs(found), skipped


def _paths(name: str, skipped: list[str], *, any_format: bool) -> Iterator[Path]:
    path = Path(name)
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from _of_folder(path, skipped, any_format=any_format)
    elif glob.has_magic(name):
        # Not Path.glob, which takes no absolute pattern.
        found = glob.glob(name, recursive=True)  # noqa: PTH207
        matches = [Path(match) for match in sorted(found)]
        files = [match for match in matches if match.is_file()]
        if not files:
            raise _missing(name)
        yield from files
    else:
        raise _missing(name)


def _of_folder(folder: Path, skipped: list[str], *, any_format: bool) -> Iterator[Path]:
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    readable = [path for path in files if any_format or is_known(path)]
    skipped += [str(path) for path in files if path not in set(readable)]
    if not readable:
        raise InputUnreadable(
            f"no file of structures in the folder {folder}",
            expected="files whose names end in .xyz, .sdf, .smi or another known format",
            action=f"name the files, or a pattern such as '{folder}/**/*.sdf' for folders in it",
        )
    yield from readable


def _is_stream(path: Path) -> bool:
    return path.is_fifo() or path.is_char_device()


def _spooled(name: str, path: Path, format: str | None, stdin: BinaryIO | None) -> Input:
    if format is None:
        raise InputUnreadable(
            f"{'standard input' if name == STDIN else name} without a format",
            expected="--format, because there is no name to tell it",
            action="add --format sdf, smi, csv, xyz, …",
        )
    known = format_of(path, format)
    with path.open("wb") as file:
        if name == STDIN:
            shutil.copyfileobj(stdin or sys.stdin.buffer, file)
        else:
            with Path(name).open("rb") as stream:
                shutil.copyfileobj(stream, file)
    return Input(path, name, known, temporary=True)


def _missing(name: str) -> InputUnreadable:
    action = "check the path"
    if _SMILES_LIKE.fullmatch(name) and not is_known(Path(name)):
        action = f"check the path; if it is a SMILES: --smiles '{name}'"
    return InputUnreadable(f"no file {name}", expected="files of structures", action=action)
