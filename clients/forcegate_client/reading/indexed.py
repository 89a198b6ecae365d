"""Text files of records: where each begins is found once, then any of them is read at once."""

from __future__ import annotations

import io
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forcegate_client.reading.compression import opened
from forcegate_client.reading.inputs import Input
from forcegate_client.reading.record import Parsed, Record, RecordInvalid, read_record
from forcegate_client.reading.source import Source

__all__ = ["RecordFile", "line_records", "pairs", "sdf_records"]

Int = npt.NDArray[np.int64]
Find = Callable[[io.BufferedReader], Int]
Parse = Callable[[bytes], Parsed]


class RecordFile(Source):
    """``find`` gives the bounds [S, 2] of all records, ``parse`` makes a structure of one.

    With ``threads`` that many records are parsed at a time, which helps where ``parse`` spends
    its time outside the interpreter.
    """

    def __init__(
        self, file: Input, format: str, find: Find, parse: Parse, *, threads: int = 1
    ) -> None:
        self.name = file.name
        self.format = format
        self._path: Path = file.path
        self._parse = parse
        self._pool = ThreadPoolExecutor(threads, "forcegate-parse") if threads > 1 else None
        self._stream: io.BufferedReader | None = None
        stream, raw = opened(self._path)
        with stream:
            self._bounds = find(stream)
            self._damage = raw.damage
            if raw.damage and self._ends_with_a_line(stream):
                # What is cut off is a record of its own, after a last one that is whole.
                self._bounds = np.concatenate([self._bounds, [[0, 0]]])
        self.size = len(self._bounds)

    def read(self, start: int, stop: int) -> list[Record]:
        """Records ``start`` to ``stop``, those that cannot be parsed with their problem."""
        if self._stream is None:
            self._stream, _ = opened(self._path)
        data = []
        for first, last in self._bounds[start:stop].tolist():
            self._stream.seek(first)
            data.append(self._stream.read(last - first))
        indices = range(start, stop)
        if self._pool is None:
            return [self._record(index, text) for index, text in zip(indices, data, strict=True)]
        return list(self._pool.map(self._record, indices, data))

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _ends_with_a_line(self, stream: io.BufferedReader) -> bool:
        if not len(self._bounds):
            return False
        stream.seek(int(self._bounds[-1, 1]) - 1)
        return stream.read(1) == b"\n"

    def _record(self, index: int, text: bytes) -> Record:
        # The record in which compressed data break off may look like a whole one.
        if self._damage and index == self.size - 1:
            return read_record(self.name, index, self._broken)
        return read_record(self.name, index, lambda: self._parse(text))

    def _broken(self) -> Parsed:
        raise RecordInvalid(
            "record_unreadable",
            f"the compressed data are damaged from here on ({self._damage}); nothing that follows "
            "is read",
        )


def sdf_records(file: io.BufferedReader) -> Int:
    """Records of an SDF, each ended by a line of four dollars; the last may lack it."""
    bounds = array("q")
    begin = position = 0
    blank = True
    for line in file:
        position += len(line)
        if line.startswith(b"$$$$"):
            bounds.extend((begin, position))
            begin, blank = position, True
        else:
            blank = blank and not line.strip()
    if not blank:
        bounds.extend((begin, position))
    return pairs(bounds)


def line_records(file: io.BufferedReader) -> Int:
    """Lines that are neither empty nor comments (``# …``)."""
    bounds = array("q")
    position = 0
    for line in file:
        begin, position = position, position + len(line)
        if (bare := line.strip()) and not bare.startswith(b"# "):
            bounds.extend((begin, position))
    return pairs(bounds)


def pairs(bounds: array[int]) -> Int:
    """[S, 2] from first, last, first, last, …"""
    return np.array(bounds, dtype=np.int64).reshape(-1, 2)
