"""Text files of records: where each begins is found once, then any of them is read at once."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forcegate_client.errors import ForcegateError
from forcegate_client.screening.chunk import Chunk, Failure
from forcegate_client.screening.sources.base import collect, one_line
from forcegate_client.structures import StructureBatch

__all__ = ["RecordFile", "RecordInvalid", "line_records", "sdf_records", "xyz_records"]

Int = npt.NDArray[np.int64]
Parse = Callable[[bytes], tuple[StructureBatch, str]]


class RecordInvalid(Exception):
    """One record holds no structure; ``code`` says why in a word."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(detail)


@dataclass(frozen=True)
class RecordFile:
    """``bounds`` [S, 2] are the first byte of each record and the one after its last."""

    path: Path
    format: str
    bounds: Int
    parse: Parse
    has_labels: bool = False

    @property
    def size(self) -> int:
        """How many records there are."""
        return len(self.bounds)

    def read(self, start: int, stop: int) -> Chunk:
        """Records ``start`` to ``stop``, those that cannot be parsed as failures."""
        found: list[tuple[int, StructureBatch, str]] = []
        failures: list[Failure] = []
        with self.path.open("rb") as file:
            for index in range(start, stop):
                first, last = self.bounds[index].tolist()
                file.seek(first)
                record = file.read(last - first)
                try:
                    found.append((index, *self.parse(record)))
                except ForcegateError as error:
                    error.structure = None
                    failures.append(Failure(index, error.code, str(error)))
                except RecordInvalid as error:
                    failures.append(Failure(index, error.code, str(error)))
                except Exception as error:
                    # Parsers of other people fail in many ways; all of them mean the same.
                    failures.append(Failure(index, "record_unreadable", one_line(error)))
        return collect(start, stop, found, failures, labelled=self.has_labels)


def xyz_records(path: Path) -> Int:
    """Frames of (extended) XYZ: a count, a comment and as many lines.

    Where a count should be and is not, one broken record goes on until the next line that is one.
    """
    bounds = array("q")
    position = 0
    broken_from: int | None = None
    with path.open("rb") as file:
        while line := file.readline():
            begin, position = position, position + len(line)
            bare = line.strip()
            if not bare.isdigit():
                if bare and broken_from is None:
                    broken_from = begin
                continue
            if broken_from is not None:
                bounds.extend((broken_from, begin))
                broken_from = None
            position += sum(map(len, islice(file, int(bare[:12]) + 1)))
            bounds.extend((begin, position))
    if broken_from is not None:
        bounds.extend((broken_from, position))
    return _pairs(bounds)


def sdf_records(path: Path) -> Int:
    """Records of an SDF, each ended by a line of four dollars; the last may lack it."""
    bounds = array("q")
    begin = position = 0
    blank = True
    with path.open("rb") as file:
        for line in file:
            position += len(line)
            if line.startswith(b"$$$$"):
                bounds.extend((begin, position))
                begin, blank = position, True
            else:
                blank = blank and not line.strip()
    if not blank:
        bounds.extend((begin, position))
    return _pairs(bounds)


def line_records(path: Path) -> Int:
    """Lines that are neither empty nor comments (``#``)."""
    bounds = array("q")
    position = 0
    with path.open("rb") as file:
        for line in file:
            begin, position = position, position + len(line)
            if (bare := line.strip()) and not bare.startswith(b"# "):
                bounds.extend((begin, position))
    return _pairs(bounds)


def _pairs(bounds: array[int]) -> Int:
    return np.array(bounds, dtype=np.int64).reshape(-1, 2)
