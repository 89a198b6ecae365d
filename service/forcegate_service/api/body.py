"""Reading a request's body, counted as it streams in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from forcegate_client.errors import PayloadTooLarge
from forcegate_service.watch.metrics.requests import note_digest

__all__ = ["declared_length", "read_body"]


def declared_length(headers: Mapping[str, str], limit: int) -> int:
    """What ``Content-Length`` says, 0 if nothing.

    Raises:
        PayloadTooLarge: if that is more than ``limit``.
    """
    declared = headers.get("content-length", "")
    if not declared.isdecimal():
        return 0
    # Python refuses to read numbers of thousands of digits.
    if len(declared) > 18 or int(declared) > limit:
        raise _too_large(f"a body of {declared[:40]} bytes", limit)
    return int(declared)


async def read_body(receive: Receive, limit: int, take: Callable[[int], None]) -> bytes:
    """The whole body, of at most ``limit`` bytes; ``take`` is asked for room for each part.

    Its digest is noted for the answer, which thereby says what question it belongs to.

    Raises:
        PayloadTooLarge: as soon as it is longer.
        TooManyRequests: if ``take`` has no room.
        ClientDisconnect: if the caller goes away before the end.
    """
    chunks: list[bytes] = []
    size = 0
    # Part by part: a body of 64 MiB at once would hold the event loop.
    digest = hashlib.sha256()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(f"a body of more than {limit} bytes", limit)
        take(len(chunk))
        chunks.append(chunk)
        digest.update(chunk)
        if not message.get("more_body", False):
            note_digest(digest.hexdigest())
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(received: str, limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        received,
        expected=f"at most {limit} bytes",
        action="split the request, or use msgpack, which is smaller and may be longer",
        code="body_too_large",
    )
