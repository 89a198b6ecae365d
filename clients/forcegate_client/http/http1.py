"""HTTP/1.1 as this client speaks it: the bytes of a request, and the answer read from bytes.

Answers are parsed by httptools (llhttp, the parser of Node.js); ``http.client`` reads headers with
the e-mail parser, which takes longer than the rest of a small request. What llhttp leaves to its
caller stands here: limits, and what the end of a connection means. Errors are those of httpx, so
that a failure has one name whatever carried the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import httpx
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from forcegate_client.errors import ServerUnreachable
from forcegate_client.http.answers import Answer
from forcegate_client.http.connection import REQUEST_ID, Timeouts, shown

__all__ = ["MAX_BODY_BYTES", "MAX_HEAD_BYTES", "Body", "Target", "join_body", "read_answer"]

# As much as httpx reads of a head.
MAX_HEAD_BYTES = 100 * 1024
# Energies and forces of ten million atoms.
MAX_BODY_BYTES = 256 * 1024 * 1024

_PIECE_BYTES = 64 * 1024
_REQUEST_ID = REQUEST_ID.encode("ascii")


@dataclass(frozen=True)
class Target:
    """What stays the same from one request to the next: method, URL and headers."""

    method: str
    url: httpx.URL
    headers: Mapping[str, str]

    @cached_property
    def head(self) -> bytes:
        """The first line and the headers, which those of a body may follow."""
        start = [self.method.encode("ascii") + b" " + self.url.raw_path + b" HTTP/1.1"]
        start.append(b"Host: " + self.url.netloc)
        lines = [f"{name}: {value}".encode("ascii") for name, value in self.headers.items()]
        return b"\r\n".join([*start, *lines, b""])

    def message(self, request_id: str, body: bytes | None) -> bytes:
        """The whole request; in one piece, so that a small one leaves in one packet."""
        head = b"%s%s: %s\r\n" % (self.head, _REQUEST_ID, request_id.encode("ascii"))
        if body is None:
            return head + b"\r\n"
        return b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body)

    def request(self, request_id: str, body: bytes | None, timeouts: Timeouts) -> httpx.Request:
        """The same for httpx; the session would merge URL, headers and limits at every step."""
        return httpx.Request(
            self.method,
            self.url,
            headers={**self.headers, REQUEST_ID: request_id},
            content=body,
            extensions={"timeout": timeouts.for_httpx()},
        )


class Body:
    """A body that comes in pieces, up to a limit; ``url`` is named in errors."""

    def __init__(self, url: httpx.URL) -> None:
        self._url = url
        self._bytes = bytearray()

    def add(self, piece: bytes) -> None:
        """The next piece.

        Raises:
            ServerUnreachable: if there is then more than ``MAX_BODY_BYTES``.
        """
        self._bytes += piece
        if len(self._bytes) > MAX_BODY_BYTES:
            raise _too_large(self._url)

    def whole(self) -> bytes:
        """All pieces in one."""
        return bytes(self._bytes)


def join_body(chunks: Iterable[bytes], url: httpx.URL) -> bytes:
    """All of ``chunks`` in one.

    Raises:
        ServerUnreachable: if that is more than ``MAX_BODY_BYTES``.
        httpx.RemoteProtocolError: if they cannot be decompressed.
    """
    body = Body(url)
    try:
        for chunk in chunks:
            body.add(chunk)
    except httpx.DecodingError as error:
        raise httpx.RemoteProtocolError(str(error)) from error
    return body.whole()


def read_answer(receive: Callable[[], bytes], url: httpx.URL) -> tuple[Answer, bool]:
    """The next answer on a connection, and whether another request may follow on it.

    ``receive`` waits for more bytes and returns none at the end of the connection; ``url`` is
    named in errors.

    Raises:
        httpx.RemoteProtocolError: if the connection ends early, or what came is not HTTP/1.
        ServerUnreachable: if the body is too large.
    """
    arriving = _Arriving()
    try:
        _receive_all(arriving, receive, url)
    finally:
        # It refers to the answer: both would stay in memory until the garbage collector comes.
        del arriving.parser
    content = bytes(arriving.body)
    if "content-encoding" in arriving.headers:
        content = _decompressed(content, arriving.headers, url)
    return Answer(arriving.status, arriving.headers, content), arriving.reusable


class _Arriving:
    """An answer as far as it has come; the parser calls the methods whose names begin with on."""

    def __init__(self) -> None:
        # None of these is that of an interim answer; 0 until the head is complete.
        self.status = 0
        # Names in lower case, repeated ones joined by commas.
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.complete = False
        self.reusable = False
        self.parser = HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take in what came next."""
        try:
            self.parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            # The parser makes its own error of whatever ends a callback, Ctrl-C too.
            if isinstance(error.__context__, KeyboardInterrupt):
                raise error.__context__ from None
            if not self.complete:
                reason = f"not an answer in HTTP/1.1 ({error}): {data[:80]!r}"
                raise httpx.RemoteProtocolError(reason) from error
            # The answer itself was in order.
            self.reusable = False

    def end(self) -> None:
        """Take in that the connection has ended."""
        if self.status == 0:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        early = "peer closed connection without sending complete message body"
        if "transfer-encoding" in self.headers:
            raise httpx.RemoteProtocolError(f"{early} (incomplete chunked read)")
        if (length := self.headers.get("content-length")) is not None:
            received = f"received {len(self.body)} bytes, expected {length}"
            raise httpx.RemoteProtocolError(f"{early} ({received})")
        self.complete = True

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("bytes after the answer, of something that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers do not count.
        if self.status == 0:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if status < 200:
            self.headers.clear()
        else:
            self.status = status

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        if self.status:
            self.complete = True
            self.reusable = self.parser.should_keep_alive()


def _receive_all(arriving: _Arriving, receive: Callable[[], bytes], url: httpx.URL) -> None:
    without_body = 0
    while not arriving.complete:
        data = receive()
        if not data:
            arriving.end()
            break
        size = len(arriving.body)
        arriving.feed(data)
        if len(arriving.body) > MAX_BODY_BYTES:
            raise _too_large(url)
        # Counted afresh after every piece of the body, because each chunk of one has a head.
        without_body = 0 if len(arriving.body) > size else without_body + len(data)
        if without_body > MAX_HEAD_BYTES:
            raise httpx.RemoteProtocolError(
                f"a head or trailers of more than {MAX_HEAD_BYTES} bytes"
            )


def _too_large(url: httpx.URL) -> ServerUnreachable:
    """What to raise for a body of more than ``MAX_BODY_BYTES``; asking again would not help."""
    return ServerUnreachable(
        f"an answer of more than {MAX_BODY_BYTES >> 20} MiB from {shown(url)}",
        expected="the predictions of one request",
        action="check that the URL is that of a forcegate server",
    )


def _decompressed(content: bytes, headers: Mapping[str, str], url: httpx.URL) -> bytes:
    """Nobody asks for compression, but there are proxies that add it."""
    # In pieces, because a few bytes may stand for very many.
    pieces = (content[i : i + _PIECE_BYTES] for i in range(0, len(content), _PIECE_BYTES))
    return join_body(httpx.Response(200, headers=headers, content=pieces).iter_bytes(), url)
