"""Readers of chunks: datasets are read in this process, what needs a parser in one of its own."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from typing import Any, BinaryIO, Protocol

import msgpack
import numpy as np
import numpy.typing as npt

from forcegate_client.errors import ForcegateError
from forcegate_client.reading.chunk import Chunk
from forcegate_client.reading.errors import InputUnreadable, PackageMissing
from forcegate_client.reading.inputs import Input
from forcegate_client.reading.library import Library, open_library
from forcegate_client.reading.record import Origin, Problem
from forcegate_client.structures import StructureBatch

__all__ = ["Reader", "ReaderProcess", "open_reader", "serve_chunks"]

_LENGTH = struct.Struct("<Q")
_PROGRAM = f"from {__name__} import main; main()"
# Whoever asks comes first: a gateway on the same machine, other people's work.
_NICE = 5
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
        return self._library.chunk(start, stop)

    def close(self) -> None:
        self._library.close()


class ReaderProcess:
    """A library in another process, so that parsing takes no time from sending.

    The process ends when its input does: also when this one is killed.

    Raises:
        InputUnreadable: if the files cannot be read, with what their reader says.
    """

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 (our own module)
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C reaches the whole group of the terminal; only this process decides.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        try:
            _send(self._process.stdin, {"inputs": [item.to_json() for item in inputs]})
            hello = self._receive()
        except OSError as error:
            self.close()
            raise self._died() from error
        except ForcegateError:
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
            missing = message["error"].get("code") == PackageMissing.default_code
            raise (PackageMissing if missing else InputUnreadable)(**message["error"])
        return message

    def _died(self) -> InputUnreadable:
        return InputUnreadable(
            f"no answer from the process that reads the input (exit code {self._process.poll()})",
            expected="files that can be read",
            action="look for its last words above; run the same command again to go on",
        )


def open_reader(inputs: Sequence[Input]) -> Reader:
    """The cheapest way to read ``inputs``."""
    if all(item.format == "h5" or _is_small(item) for item in inputs):
        return _InProcess(open_library(inputs))
    return ReaderProcess(inputs)


def _is_small(item: Input) -> bool:
    return item.format == "xyz" and item.path.stat().st_size < _SMALL_BYTES


def serve_chunks(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests for slices until there are no more; the first says which files these are."""
    first = _receive(requests)
    if first is None:
        return
    try:
        library = open_library([Input.from_json(item) for item in first["inputs"]])
    except ForcegateError as error:
        reason = {"expected": error.expected, "action": error.action, "code": error.code}
        _send(answers, {"error": {"received": error.received, **reason}})
        return
    _send(answers, {"size": library.size, "files": library.describe()})
    while (request := _receive(requests)) is not None:
        try:
            chunk = library.chunk(int(request["start"]), int(request["stop"]))
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
        "origins": [astuple(origin) for origin in chunk.origins],
        "index": chunk.index.tobytes(),
        "structures": {
            name: [values.dtype.str, list(values.shape), values.tobytes()]
            for name, values in arrays.items()
        },
        "problems": _listed(chunk.problems),
        "held": np.packbits(chunk.held).tobytes(),
        "immovable": _listed(chunk.immovable),
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
        [Origin(*origin) for origin in message["origins"]],
        np.frombuffer(message["index"], dtype=np.int64),
        StructureBatch(**arrays),
        _problems(message["problems"]),
        _unpacked_bits(message["held"], arrays["positions"].shape),
        _problems(message["immovable"]),
    )


def _listed(problems: Mapping[int, Problem]) -> list[list[Any]]:
    return [[index, *astuple(problem)] for index, problem in problems.items()]


def _problems(listed: list[list[Any]]) -> dict[int, Problem]:
    return {index: Problem(code, detail) for index, code, detail in listed}


def _unpacked_bits(data: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=int(np.prod(shape)))
    return bits.reshape(shape).astype(np.bool_)


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
    if hasattr(os, "nice"):
        os.nice(_NICE)
    serve_chunks(sys.stdin.buffer, answers)
