"""HTTP/1.1 with as little as a load generator needs: requests made beforehand, answers counted."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = ["Address", "AnswerReader", "Unreadable", "advised_s", "post"]

_LENGTH = b"\r\ncontent-length:"
_RETRY = b'"retry_after_s":'
_CLOSE = b"\r\nconnection: close"
# Longer heads are none of a server that is measured here.
_LONGEST_HEAD = 64 * 1024


class Unreadable(Exception):
    """What a server sent is no answer with a length; the message says why."""


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Address:
        """The address in a URL such as ``http://127.0.0.1:8000``."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        return cls(parts.hostname, parts.port)

    @property
    def url(self) -> str:
        """``http://host:port``."""
        return f"http://{self.host}:{self.port}"


def post(path: str, content_type: str, body: bytes) -> bytes:
    """A whole request, to be written as it is."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def advised_s(problem: bytes) -> float | None:
    """``retry_after_s`` of a problem document, read without decoding it; None if it has none."""
    start = problem.find(_RETRY)
    if start < 0:
        return None
    start += len(_RETRY)
    ends = [end for mark in (b",", b"}") if (end := problem.find(mark, start)) >= 0]
    return float(problem[start : min(ends)]) if ends else None


class AnswerReader:
    """Cuts the answers of one connection out of its stream, one at a time."""

    def __init__(self) -> None:
        # Whether the last answer was the last of its connection, as the server said in its head.
        self.closing = False
        self._head = b""
        self._status = 0
        self._parts: list[bytes] = []
        self._missing = 0

    def feed(self, data: bytes) -> tuple[int, bytes] | None:
        """Take in what came; status and body once the answer is complete.

        Raises:
            Unreadable: if it is no answer, has no length, or is longer than that.
        """
        if not self._missing:
            data = self._head + data if self._head else data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                if len(data) > _LONGEST_HEAD:
                    raise Unreadable(f"a head of more than {_LONGEST_HEAD} bytes")
                self._head = data
                return None
            self._head = b""
            self._status, self._missing = _status_and_length(data[:end])
            self.closing = _CLOSE in data[:end].lower()
            data = data[end + 4 :]
        self._parts.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return None
        if self._missing < 0:
            raise Unreadable(f"{-self._missing} bytes that nobody asked for, after an answer")
        body = data if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        return self._status, body


def _status_and_length(head: bytes) -> tuple[int, int]:
    if not head.startswith(b"HTTP/1."):
        raise Unreadable(f"no answer in HTTP/1: {head[:60]!r}")
    status = int(head[9:12])
    start = head.lower().find(_LENGTH)
    if start < 0:
        if status == 204:
            return status, 0
        raise Unreadable(f"an answer with status {status} and without its length")
    start += len(_LENGTH)
    end = head.find(b"\r\n", start)
    return status, int(head[start : end if end >= 0 else None])
