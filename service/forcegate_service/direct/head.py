"""The head of a request that can be answered directly."""

from __future__ import annotations

from dataclasses import dataclass

import httptools

from forcegate_service.handlers.predict import PATH
from forcegate_service.raw_headers import RawHeaders
from forcegate_service.settings import Settings
from forcegate_service.terms import Terms, read_terms

__all__ = ["Head", "read_head"]

_REQUEST_LINE = f"POST {PATH} HTTP/1.1\r\n".encode("ascii")
# What they ask for is done elsewhere.
_LEFT_TO_OTHERS = frozenset(
    {b"expect", b"transfer-encoding", b"upgrade", b"x-forwarded-for", b"x-forwarded-proto"}
)


@dataclass(slots=True)
class Head:
    """``pairs`` are headers with names in lower case, ``length`` is that of the body in bytes."""

    pairs: list[tuple[bytes, bytes]]
    headers: RawHeaders
    length: int
    _terms: Terms | None = None

    def terms(self, settings: Settings) -> Terms:
        """What it asks for, read once; see ``read_terms``."""
        if self._terms is None:
            self._terms = read_terms(self.headers, settings)
        return self._terms


def read_head(data: bytes) -> Head | None:
    """The head in ``data``, which ends with an empty line; None if it has to go the usual way.

    That is everything but a plain POST to the route of predictions with a Content-Length, on a
    connection that stays open. It is read by the same parser as ever.
    """
    if not data.startswith(_REQUEST_LINE):
        return None
    pairs: list[tuple[bytes, bytes]] = []
    parser = httptools.HttpRequestParser(_Collector(pairs))
    try:
        parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    headers = RawHeaders(pairs)
    length = headers.get("content-length", "")
    if (
        not (length.isascii() and length.isdecimal() and len(length) < 9)
        or not parser.should_keep_alive()
        or any(name in _LEFT_TO_OTHERS for name, _ in pairs)
    ):
        return None
    return Head(pairs, headers, int(length))


class _Collector:
    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._pairs = pairs

    def on_header(self, name: bytes, value: bytes) -> None:
        self._pairs.append((name.lower(), value))
