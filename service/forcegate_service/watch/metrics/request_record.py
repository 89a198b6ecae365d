"""What becomes known of a request on its way, and is counted when it has been answered."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["RequestRecord", "current_record", "note_digest", "note_problem", "note_structures"]


@dataclass(slots=True)
class RequestRecord:
    """``structures`` once they are read; ``problem`` is the code of the answer if it is one.

    ``digest`` is the value of ``X-Request-Digest``, once the whole body is there.

    It is made where a request comes in and filled in further inside, in whatever task or thread.
    """

    structures: int | None = None
    problem: str | None = None
    digest: bytes | None = None


current_record: ContextVar[RequestRecord | None] = ContextVar("current_record", default=None)


def note_structures(number: int) -> None:
    """The request that is being answered holds so many."""
    record = current_record.get()
    if record is not None:
        record.structures = number


def note_digest(sha256_hex: str) -> None:
    """The whole body of the request that is being answered is there, and hashes to this."""
    record = current_record.get()
    if record is not None:
        record.digest = b"sha256:" + sha256_hex.encode("ascii")


def note_problem(code: str) -> None:
    """The request that is being answered gets a problem document."""
    record = current_record.get()
    if record is not None:
        record.problem = code
