"""HTTP by hand: callers that keep to no rule, and what has to be true of the answers."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from forcegate_service.api.problems import PROBLEM_TYPE, Problem

__all__ = ["PATIENCE_S", "Peer", "RawAnswer", "post_head", "problem_of"]

# A guard against a server that hangs; nothing is timed.
PATIENCE_S = 60.0

# Far more than any sentence about a request needs, and far less than a request may have.
_LONGEST_PROBLEM = 20_000
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class RawAnswer:
    """Names of ``headers`` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self) -> dict[str, Any]:
        """The problem document that it holds, which must be complete."""
        return problem_of(self.status, self.headers.get("content-type"), self.body)


class Peer:
    """One connection to a server, over which any bytes may go."""

    def __init__(
        self, url: str, receive_buffer: int | None = None, source: str | None = None
    ) -> None:
        """Connect, from the address ``source``; with a small ``receive_buffer`` the system takes
        little that is not read.
        """
        parts = urlsplit(url)
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE_S)
        if source is not None:
            self.socket.bind((source, 0))
        try:
            self.socket.connect((parts.hostname, parts.port))
        except OSError:
            self.socket.close()
            raise
        self._received = b""

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Peer:
        """Write all of ``data``."""
        self.socket.sendall(data)
        return self

    def answer(self) -> RawAnswer:
        """The next answer; what comes after it stays for the next call.

        Raises:
            ConnectionError: if the server hangs up before its end.
        """
        head = self._take(self._until(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        size = int(headers.get("content-length", "0"))
        while len(self._received) < size:
            self._more()
        return RawAnswer(int(first.split(" ")[1]), headers, self._take(size))

    def glance(self, size: int) -> bytes:
        """The first ``size`` bytes of what has come, which stay where they are."""
        return self.socket.recv(size, socket.MSG_PEEK | socket.MSG_WAITALL)

    def is_gone(self) -> bool:
        """Whether the server has hung up; what it sent before that is lost."""
        self.socket.setblocking(False)
        try:
            while self.socket.recv(65536):
                pass
        except BlockingIOError:
            return False
        except ConnectionError:
            pass
        return True

    def at_end(self) -> bool:
        """Whether nothing is left and nothing comes any more, after an orderly end.

        Raises:
            ConnectionError: if the connection was reset.
        """
        if not self._received:
            self._received = self.socket.recv(65536)
        return not self._received

    def disable_nagle(self) -> None:
        """Send each piece at once, in a packet of its own."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pour(self, piece: bytes, at_most: int) -> int:
        """Write ``piece`` again and again until the server hangs up; how many bytes it took.

        Stops at ``at_most`` bytes.
        """
        taken = 0
        with suppress(ConnectionError):
            while taken < at_most:
                taken += self.socket.send(piece)
        return taken

    def close(self) -> None:
        """Go away."""
        self.socket.close()

    def reset(self) -> None:
        """Go away without a word of farewell."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.socket.close()

    def _until(self, mark: bytes) -> int:
        while mark not in self._received:
            self._more()
        return self._received.index(mark) + len(mark)

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionAbortedError(f"the server hung up after {self._received[-200:]!r}")
        self._received += data

    def _take(self, size: int) -> bytes:
        taken, self._received = self._received[:size], self._received[size:]
        return taken


def post_head(length: int | None, content_type: str = "application/json") -> bytes:
    """The head of a prediction with a body of ``length`` bytes, or of chunks."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [
        "POST /v1/predict HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {content_type}",
        framing,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def problem_of(status: int, content_type: str | None, content: bytes) -> dict[str, Any]:
    """The problem document of a refusal, which must be complete, and short."""
    assert 400 <= status < 500 or status == 504, (status, content[:500])
    assert content_type == PROBLEM_TYPE, (status, content_type, content[:500])
    document: dict[str, Any] = json.loads(content)
    problem = Problem.model_validate(document, strict=True, extra="forbid")
    assert problem.status == status, document
    assert problem.type == f"urn:forcegate:problem:{problem.code}", document
    assert problem.title, document
    for said in (problem.received, problem.expected, problem.action):
        assert said, document
        assert said in problem.detail, document
    assert len(content) <= _LONGEST_PROBLEM, f"{len(content)} bytes: {content[:500]!r}"
    return document
