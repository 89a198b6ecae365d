"""Readers: datasets are read in this process, everything that needs a parser in one of its own."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgpack
import numpy as np

from forcegate_client.screening.chunk import Chunk, Failure
from forcegate_client.screening.errors import InputUnreadable
from forcegate_client.screening.sources.library import Library, is_dataset, open_library
from forcegate_client.structures import StructureBatch

__all__ = ["Reader", "ReaderProcess", "open_reader", "serve_chunks"]

_LENGTH = struct.Struct("<Q")
_PROGRAM = f"from {__name__} import main; main()"
# Below that, starting a process takes longer than parsing.
_SMALL_BYTES = 262_144


class Reader(Protocol):
    """Reads slices of a library; used by one thread at a time."""

    @property
    def size(self) -> int:
        """How many structures there are."""

    def describe(self) -> list[dict[str, Any]]:
        """Format and number of structures of each file."""

    def read(self, start: int, stop: int) -> Chunk:
        """Structures ``start`` to ``stop``."""

    def close(self) -> None:
        """Let go of it."""


class _InProcess:
    def __init__(self, library: Library) -> None:
        self._library = library
        self.size = library.size

    def describe(self) -> list[dict[str, Any]]:
        return self._library.describe()

    def read(self, start: int, stop: int) -> Chunk:
        return self._library.read(start, stop)

    def close(self) -> None:
        return


class ReaderProcess:
    """A library in another process, so that parsing takes no time from sending.

    The process ends when its input does: also when this one is killed.

    Raises:
        InputUnreadable: if the files cannot be read, with what their reader says.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 (our own module)
            [sys.executable, "-c", _PROGRAM, *map(str, paths)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C reaches the whole group of the terminal; only this process decides.
            start_new_session=True,
        )
        try:
            hello = self._receive()
        except InputUnreadable:
            self.close()
            raise
        self.size = int(hello["size"])
        self._files = list(hello["files"])

    def describe(self) -> list[dict[str, Any]]:
        """Format and number of structures of each file."""
        return self._files

    def read(self, start: int, stop: int) -> Chunk:
        """Structures ``start`` to ``stop``.

        Raises:
            InputUnreadable: if the process died over them, or the file has changed.
        """
        assert self._process.stdin is not None
        try:
            _send(self._process.stdin, {"start": start, "stop": stop})
        except OSError as error:
            raise self._died() from error
        return _unpacked(self._receive())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        message = _receive(self._process.stdout)
        if message is None:
            raise self._died()
        if "error" in message:
            raise InputUnreadable(**message["error"])
        return message

    def _died(self) -> InputUnreadable:
        return InputUnreadable(
            f"no answer from the process that reads the input (exit code {self._process.poll()})",
            expected="files that can be read",
            action="look for its last words above; run the same command again to go on",
        )


def open_reader(paths: Sequence[Path]) -> Reader:
    """The cheapest way to read ``paths``."""
    parsed = [path for path in paths if not is_dataset(path)]
    if all(path.suffix in (".xyz", ".extxyz") and _is_small(path) for path in parsed):
        return _InProcess(open_library(paths))
    return ReaderProcess(paths)


def _is_small(path: Path) -> bool:
    return path.is_file() and path.stat().st_size < _SMALL_BYTES


def serve_chunks(paths: Sequence[Path], requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests for slices until there are no more."""
    from forcegate_client.errors import ForcegateError

    try:
        library = open_library(paths)
    except ForcegateError as error:
        reason = {"expected": error.expected, "action": error.action, "code": error.code}
        _send(answers, {"error": {"received": error.received, **reason}})
        return
    _send(answers, {"size": library.size, "files": library.describe()})
    while (request := _receive(requests)) is not None:
        try:
            chunk = library.read(int(request["start"]), int(request["stop"]))
        except Exception as error:
            # Whatever happened to the file since it was counted; it must be told on the other side.
            received = f"{type(error).__name__}: {error}, structures {request['start']} and later"
            _send(answers, {"error": {"received": received, "action": "check the input"}})
            continue
        _send(answers, _packed(chunk))


def _packed(chunk: Chunk) -> dict[str, Any]:
    batch = chunk.structures
    arrays = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {
        "bounds": [chunk.start, chunk.stop],
        "index": chunk.index.tobytes(),
        "structures": {
            name: [values.dtype.str, list(values.shape), values.tobytes()]
            for name, values in arrays.items()
        },
        "labels": chunk.labels,
        "failures": [asdict(failure) for failure in chunk.failures],
    }


def _unpacked(message: dict[str, Any]) -> Chunk:
    arrays = {
        name: np.frombuffer(data, dtype=dtype).reshape(shape)
        for name, (dtype, shape, data) in message["structures"].items()
    }
    start, stop = message["bounds"]
    return Chunk(
        start,
        stop,
        np.frombuffer(message["index"], dtype=np.int64),
        StructureBatch(**arrays),
        message["labels"],
        [Failure(**failure) for failure in message["failures"]],
    )


def _send(stream: BinaryIO | Any, message: dict[str, Any]) -> None:
    body = msgpack.packb(message, unicode_errors="replace")
    stream.write(_LENGTH.pack(len(body)))
    stream.write(body)
    stream.flush()


def _receive(stream: BinaryIO | Any) -> dict[str, Any] | None:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length)
    return None if len(body) < length else msgpack.unpackb(body, unicode_errors="replace")


def main() -> None:
    """The other process: requests on standard input, answers on standard output."""
    # What libraries print must not get among the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve_chunks([Path(name) for name in sys.argv[1:]], sys.stdin.buffer, answers)
