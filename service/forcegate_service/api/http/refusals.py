"""What a connection is told that brings no request to be handed on."""

from __future__ import annotations

from pydantic_core import to_json

from forcegate_client.errors import MalformedRequest, RuntimeUnavailable

__all__ = ["CROWDED", "MAX_HEAD_BYTES", "malformed", "too_long"]

# As much as the client reads of the head of an answer. Trailers have as much again.
MAX_HEAD_BYTES = 100 * 1024


def malformed(received: str) -> MalformedRequest:
    """The refusal of what leaves the end of a request in doubt."""
    return MalformedRequest(
        received,
        expected="requests in HTTP/1.1, one after the other",
        action="correct the request, or the proxy that made it; nothing after it was read",
    )


def too_long(what: str) -> MalformedRequest:
    """The refusal of a head, or of what is like one, without an end."""
    return malformed(f"{what} of more than {MAX_HEAD_BYTES} bytes")


def _crowded() -> bytes:
    error = RuntimeUnavailable(
        "one more connection while as many are open as there may be",
        expected="fewer",
        action="try again in a moment, and close connections that are not needed",
        code="too_many_connections",
        retry_after_s=1.0,
    )
    body = to_json(error.to_problem())
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


# Written as it is, without the application, its log and its time.
CROWDED = _crowded()
