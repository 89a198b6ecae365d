"""Whatever else ASE reads: from the front, frame after frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ase import Atoms
from ase.io import iread

from forcegate_client.errors import ForcegateError
from forcegate_client.screening.chunk import Chunk, Failure
from forcegate_client.screening.errors import InputUnreadable
from forcegate_client.screening.sources.base import collect, one_line
from forcegate_client.structures import StructureBatch

__all__ = ["AseFile"]


class AseFile:
    """A file of a format in which only ASE knows where frames begin.

    It is read once to count its frames. Going back means to begin again; a frame that ASE cannot
    read ends what can be counted, which is an error rather than a short screening.

    Raises:
        InputUnreadable: if ASE cannot read all of it.
    """

    format = "ase"
    has_labels = False

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.size = sum(1 for _ in iread(path, index=":"))
        except Exception as error:
            # ASE's readers fail in many ways, from StopIteration to IndexError.
            raise InputUnreadable(
                f"{path} ({one_line(error)})",
                expected="a complete structure file that ASE reads",
                action="check the file, or convert it to extxyz",
            ) from error
        self._next = 0
        self._frames: Iterator[Atoms] = iter(())

    def read(self, start: int, stop: int) -> Chunk:
        """Frames ``start`` to ``stop``."""
        if start < self._next or self._next == 0:
            self._frames, self._next = iter(iread(self._path, index=":")), 0
        while self._next < start:
            next(self._frames)
            self._next += 1
        found: list[tuple[int, StructureBatch, str]] = []
        failures: list[Failure] = []
        for index in range(start, stop):
            atoms = next(self._frames)
            self._next += 1
            try:
                found.append((index, StructureBatch.from_atoms([atoms]), ""))
            except ForcegateError as error:
                error.structure = None
                failures.append(Failure(index, error.code, str(error)))
            except (ValueError, TypeError) as error:
                failures.append(Failure(index, "record_unreadable", one_line(error)))
        return collect(start, stop, found, failures, labelled=False)
