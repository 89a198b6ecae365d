"""Which form a request comes in and which form its answer takes.

Names of headers are in lower case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from forcegate_client.errors import NotAcceptable, UnsupportedMediaType
from forcegate_client.wire import MEDIA_TYPE as MSGPACK

__all__ = ["JSON", "MSGPACK", "XYZ", "Form", "answer_form", "request_form"]

Form = Literal["application/json", "application/msgpack", "chemical/x-xyz"]
JSON: Final = "application/json"
XYZ: Final = "chemical/x-xyz"
# Those in which answers are given too.
_FORMS: tuple[Form, ...] = (JSON, "application/msgpack")
# What curl -d says of a body unless it is told otherwise.
_CURL = "application/x-www-form-urlencoded"


def request_form(headers: Mapping[str, str]) -> Form:
    """The form of the request's body, by its ``Content-Type``.

    Raises:
        UnsupportedMediaType: if it is none of ours, or if the body is compressed.
    """
    encoding = headers.get("content-encoding")
    if encoding is not None:
        raise UnsupportedMediaType(
            f"Content-Encoding {encoding[:80]!r}",
            expected="a body without content encoding",
            action="send the body uncompressed",
            code="content_encoding_unsupported",
        )
    received = headers.get("content-type", "")
    media_type = received.partition(";")[0].strip().lower()
    for form in (*_FORMS, XYZ):
        if media_type == form:
            return form
    why = ", which curl -d sends unless it is told otherwise" if media_type == _CURL else ""
    raise UnsupportedMediaType(
        f"Content-Type {received[:80]!r}{why}" if received else "no Content-Type",
        expected=f"{', '.join(_FORMS)} or {XYZ}",
        action=f"add the header Content-Type: {JSON}; with curl: -H 'Content-Type: {JSON}'",
    )


def answer_form(headers: Mapping[str, str], request: Form) -> Form:
    """The form of the answer by ``Accept``: the most wanted, the request's own on a tie, and JSON
    to a request in a form that has no answers.

    Raises:
        NotAcceptable: if none of ours is acceptable.
    """
    if request == XYZ:
        request = JSON
    accept = headers.get("accept")
    if accept is None or accept == "*/*" or accept == request:
        return request
    wanted = {form: _quality(accept, form) for form in _FORMS}
    best = max(_FORMS, key=lambda form: (wanted[form], form == request))
    if wanted[best] > 0.0:
        return best
    raise NotAcceptable(
        f"Accept {accept[:80]!r}",
        expected=" or ".join(_FORMS),
        action="accept one of these, or leave the header out",
    )


def _quality(accept: str, form: Form) -> float:
    """The weight that ``accept`` gives to ``form``; its most specific range decides."""
    found: tuple[int, float] = (-1, 0.0)
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        ranges = ("*/*", "application/*", form)
        if name in ranges:
            found = max(found, (ranges.index(name), _weight(parameters)))
    return found[1]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
