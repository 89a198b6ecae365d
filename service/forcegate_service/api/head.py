"""What the head of a request for predictions says: forms, patience, and whose turn it takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from forcegate_service.api.access.caller import ANONYMOUS, Caller
from forcegate_service.api.deadline import requested_timeout
from forcegate_service.api.negotiation import MSGPACK, Form, answer_form, request_form
from forcegate_service.api.raw_headers import RawHeaders
from forcegate_service.queue.fair_queue import Flow
from forcegate_service.settings import Settings

__all__ = ["Terms", "flow_of", "read_terms"]

# Clients send less.
_LONGEST_REMEMBERED = 512
# What terms are read from.
_TELLING = frozenset({b"content-type", b"content-encoding", b"accept", b"x-request-timeout"})


@dataclass(frozen=True, slots=True)
class Terms:
    """The forms of both bodies, the seconds that the answer may take, and the bytes that the
    request may have.
    """

    form: Form
    answer: Form
    timeout_s: float
    limit: int


def read_terms(headers: RawHeaders, settings: Settings) -> Terms:
    """The terms of the request with ``headers``, whose names are in lower case.

    Raises:
        UnsupportedMediaType, NotAcceptable, UnprocessableRequest: if they cannot be met.
    """
    said = headers.among(_TELLING)
    limits = settings.request_timeout_s, settings.max_json_bytes, settings.max_body_bytes
    if sum(len(value) for _, value in said) > _LONGEST_REMEMBERED:
        return _terms_of.__wrapped__(said, *limits)
    return _terms_of(said, *limits)


@lru_cache(maxsize=256)
def _terms_of(
    said: tuple[tuple[bytes, bytes], ...], longest_s: float, json_bytes: int, msgpack_bytes: int
) -> Terms:
    """A client says the same at every step."""
    headers = RawHeaders(said)
    form = request_form(headers)
    return Terms(
        form=form,
        answer=answer_form(headers, form),
        timeout_s=requested_timeout(headers, longest_s),
        limit=msgpack_bytes if form == MSGPACK else json_bytes,
    )


def flow_of(caller: Caller, client: tuple[str, int] | None) -> Flow:
    """Turns are taken by keys, and by addresses where there are none; then by connections."""
    host, port = client or ("", 0)
    who = host if caller.id == ANONYMOUS.id else caller.id
    return Flow(who, f"{host}:{port}", caller.id)
