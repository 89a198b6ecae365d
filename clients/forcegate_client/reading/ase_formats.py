"""Whatever else ASE reads: from the front, frame after frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.io import iread
from ase.io.formats import filetype

from forcegate_client.electrons import tells_electrons
from forcegate_client.reading.ase_texts import electrons_in_text, require_elements
from forcegate_client.reading.compression import uncompressed
from forcegate_client.reading.errors import InputUnreadable
from forcegate_client.reading.inputs import Input
from forcegate_client.reading.names import label_of, smiles_of
from forcegate_client.reading.record import Parsed, Record, RecordInvalid, read_record
from forcegate_client.reading.source import Source

__all__ = ["AseFile"]

_BASES = ("db", "json")
# Where ASE keeps charge and multiplicity in a calculator, if it is told to make one.
_SETTINGS: dict[str, dict[str, Any]] = {"gaussian-in": {"attach_calculator": True}}


class AseFile(Source):
    """A file of a format in which only ASE knows where frames begin.

    It is read once to count its frames. Going back means to begin again. What follows a frame that
    ASE cannot read cannot be counted: it is one record with a problem.

    Raises:
        InputUnreadable: if ASE cannot read anything of it.
    """

    def __init__(self, file: Input) -> None:
        self.name = file.name
        self._input = file
        self._told = file.format.removeprefix("ase").removeprefix(":") or None
        self.format = f"ase {self._told}" if self._told else "ase"
        self._open = ExitStack()
        self._frames: Iterator[Atoms] = iter(())
        self._next = 0
        self._damage = ""
        self._electrons: tuple[dict[str, str], str] | RecordInvalid | None = None
        self.size = 0
        try:
            self._begin()
            for _ in self._frames:
                self.size += 1
        except InputUnreadable:
            raise
        except Exception as error:
            # ASE's readers fail in many ways, from StopIteration to IndexError.
            self._damage = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        finally:
            self.close()
        if self._damage and not self.size:
            raise InputUnreadable(
                f"{file.name} ({self._damage})",
                expected="a complete structure file in a format that forcegate or ASE reads",
                action="check the file and the end of its name, or tell --format",
            )
        self.size += bool(self._damage)

    def read(self, start: int, stop: int) -> list[Record]:
        """Frames ``start`` to ``stop``."""
        if start < self._next or not self._next:
            self.close()
            self._begin()
        while self._next < start:
            next(self._frames)
            self._next += 1
        return [read_record(self.name, index, self._parse) for index in range(start, stop)]

    def close(self) -> None:
        """Close the file."""
        self._frames, self._next = iter(()), 0
        self._open.close()

    def _begin(self) -> None:
        path = self._open.enter_context(uncompressed(self._input.path))
        name = self._told or filetype(str(path))
        if self._electrons is None:
            require_elements(path, self.name, name)
            self._electrons = _electrons(path, name)
        if name in _BASES:
            self._frames, self._next = _rows(path), 0
        else:
            more = _SETTINGS.get(name, {})
            self._frames, self._next = iter(iread(path, index=":", format=name, **more)), 0

    def _parse(self) -> Parsed:
        index, self._next = self._next, self._next + 1
        if self._damage and index == self.size - 1:
            raise RecordInvalid(
                "record_unreadable",
                f"ASE cannot read on from here ({self._damage}); nothing that follows is read",
            )
        atoms = next(self._frames)
        info = atoms.info
        # Inputs of Gaussian tell charge and multiplicity as settings of a calculation.
        told = dict(getattr(atoms.calc, "parameters", {}))
        info.update((key, value) for key, value in told.items() if tells_electrons(key))
        atoms.calc = None
        label, smiles = label_of(info), smiles_of(info)
        if isinstance(self._electrons, RecordInvalid):
            raise RecordInvalid(self._electrons.code, str(self._electrons), label=label)
        said, remark = self._electrons or ({}, "")
        if said and not any(map(tells_electrons, info)):
            info.update(said)
        return Parsed(atoms, label, smiles, remark)


def _electrons(path: Path, format: str) -> tuple[dict[str, str], str] | RecordInvalid:
    """What the text says for all frames, or why none of them can be believed."""
    try:
        return electrons_in_text(path, format)
    except RecordInvalid as error:
        return error


def _rows(path: Path) -> Iterator[Atoms]:
    """Rows of a data base with what was told about them, which ``iread`` leaves out."""
    with connect(path) as base:
        for row in base.select():
            atoms = row.toatoms()
            told = {**row.data, **row.key_value_pairs}
            atoms.info.update((key, value) for key, value in told.items() if np.isscalar(value))
            yield atoms
