"""What the head of a request says: who asks, in which forms, for how long, and whose turn it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from starlette.types import Scope

from forcegate_client.errors import NotAcceptable, UnsupportedMediaType
from forcegate_service.api.access import keys
from forcegate_service.api.access.caller import ANONYMOUS, Access, Caller
from forcegate_service.api.deadline import requested_timeout
from forcegate_service.predict.forms import JSON, MSGPACK, XYZ, Form
from forcegate_service.queue.fair_queue import Tenant
from forcegate_service.settings import Settings

__all__ = [
    "Head",
    "Need",
    "RawHeaders",
    "admit",
    "answer_form",
    "headers_of",
    "read_head",
    "request_form",
    "tenant_of",
]

# Besides the scopes of keys: whoever may ask at all; whoever has a key, if keys are in force.
Need = keys.Scope | Literal["nothing", "key"]

_FORWARDED = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"})
# Clients send less.
_LONGEST_REMEMBERED = 512
# What is read of it.
_TELLING = frozenset({b"content-type", b"content-encoding", b"accept", b"x-request-timeout"})
# Those in which answers are given too.
_FORMS: tuple[Form, ...] = (JSON, "application/msgpack")
# What curl -d says of a body unless it is told otherwise.
_CURL = "application/x-www-form-urlencoded"


class RawHeaders(Mapping[str, str]):
    """Headers by their names in lower case; of one that is there twice, the first."""

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self._pairs = pairs
        # As the framework reads them.
        self._values = dict(reversed(pairs))

    def __getitem__(self, name: str) -> str:
        return self._values[name.encode("latin-1")].decode("latin-1")

    # That of Mapping raises and catches an error for each header that is not there.
    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """The value of one, ``default`` if there is none."""
        value = self._values.get(name.encode("latin-1"))
        return default if value is None else value.decode("latin-1")

    def among(self, names: frozenset[bytes]) -> tuple[tuple[bytes, bytes], ...]:
        """Those with one of ``names``, as they came: to be remembered what they mean."""
        return tuple([pair for pair in self._pairs if pair[0] in names])

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._values)

    def __len__(self) -> int:
        return len(self._values)


def headers_of(request: Scope) -> RawHeaders:
    """Those of an ASGI request, whoever asks for them first."""
    found: RawHeaders | None = request["state"].get("headers")
    if found is None:
        found = request["state"]["headers"] = RawHeaders(request["headers"])
    return found


def admit(request: Scope, need: Need) -> Caller:
    """Who sent ``request``, if that is somebody with what the door needs.

    Kept in the request's state, for the line that it leaves in the log. Without keys the door
    ``shadow`` is open to this machine alone, by no proxy's word.

    Raises:
        Unauthorized: if there is no valid key, unless none is needed.
        Forbidden: if the key does not allow it.
        TooManyRequests: if the key has used up its quota.
    """
    access: Access = request["state"]["access"]
    caller = request["state"]["caller"] = access.identify(headers_of(request))
    if need == "key":
        access.require_key(caller)
    elif need == "shadow":
        access.require_here(caller, need, _origin(request))
    elif need != "nothing":
        access.require(caller, need)
        if need == "predict" and caller.structures_per_hour is not None:
            access.quotas.require(caller.id, caller.structures_per_hour)
    return caller


def _origin(request: Scope) -> str:
    """The address from which it came; empty if a proxy stands between, for it may hide anybody."""
    client = request.get("client")
    if client is None or any(name in _FORWARDED for name, _ in request["headers"]):
        return ""
    host: str = client[0]
    return host


@dataclass(frozen=True, slots=True)
class Head:
    """The forms of both bodies, the seconds that the answer may take, and the bytes that the
    request may have.
    """

    form: Form
    answer: Form
    timeout_s: float
    limit: int


def read_head(headers: RawHeaders, settings: Settings) -> Head:
    """What is said by ``headers``, whose names are in lower case.

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
) -> Head:
    """A client says the same at every step."""
    headers = RawHeaders(said)
    form = request_form(headers)
    return Head(
        form=form,
        answer=answer_form(headers, form),
        timeout_s=requested_timeout(headers, longest_s),
        limit=msgpack_bytes if form == MSGPACK else json_bytes,
    )


def tenant_of(caller: Caller, client: tuple[str, int] | None) -> Tenant:
    """Turns are taken by keys, and by addresses where there are none; then by connections."""
    host, port = client or ("", 0)
    who = host if caller.id == ANONYMOUS.id else caller.id
    return Tenant(who, f"{host}:{port}", caller.id)


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
