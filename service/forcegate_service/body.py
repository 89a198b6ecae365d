"""Reading a request's body, counted as it streams in."""

from __future__ import annotations

from starlette.requests import Request

from forcegate_client.errors import PayloadTooLarge

__all__ = ["read_body"]


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, of at most ``limit`` bytes.

    Raises:
        PayloadTooLarge: as soon as it is longer, or says that it will be.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(f"a body of {declared} bytes", limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(f"a body of more than {limit} bytes", limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(received: str, limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        received,
        expected=f"at most {limit} bytes",
        action="split the request, or use msgpack, which is smaller and may be longer",
        code="body_too_large",
    )
