"""What the head of a request for predictions says: forms, patience, and whose turn it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forcegate_service.access.caller import ANONYMOUS, Caller
from forcegate_service.negotiation import MSGPACK, Form, answer_form, request_form
from forcegate_service.patience import requested_timeout
from forcegate_service.scheduling.flow import Flow
from forcegate_service.settings import Settings

__all__ = ["Terms", "flow_of", "read_terms"]


@dataclass(frozen=True, slots=True)
class Terms:
    """The forms of both bodies, the seconds that the answer may take, and the bytes that the
    request may have.
    """

    form: Form
    answer: Form
    timeout_s: float
    limit: int


def read_terms(headers: Mapping[str, str], settings: Settings) -> Terms:
    """The terms of the request with ``headers``, whose names are in lower case.

    Raises:
        UnsupportedMediaType, NotAcceptable, UnprocessableRequest: if they cannot be met.
    """
    form = request_form(headers)
    return Terms(
        form=form,
        answer=answer_form(headers, form),
        timeout_s=requested_timeout(headers, settings.request_timeout_s),
        limit=settings.max_body_bytes if form == MSGPACK else settings.max_json_bytes,
    )


def flow_of(caller: Caller, client: tuple[str, int] | None) -> Flow:
    """Turns are taken by keys, and by addresses where there are none; then by connections."""
    host, port = client or ("", 0)
    who = host if caller.id == ANONYMOUS.id else caller.id
    return Flow(who, f"{host}:{port}", caller.id)
