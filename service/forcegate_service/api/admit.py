"""Who is let in: asked at every door, before anything of a body is read."""

from __future__ import annotations

from typing import Literal

from starlette.types import Scope

from forcegate_service.api.access import keys
from forcegate_service.api.access.caller import Access, Caller
from forcegate_service.api.raw_headers import headers_of

__all__ = ["Need", "admit"]

# Besides the scopes of keys: whoever may ask at all; whoever has a key, if keys are in force.
Need = keys.Scope | Literal["nothing", "key"]

_FORWARDED = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"})


def admit(request: Scope, need: Need) -> Caller:
    """Who sent ``request``, if that is somebody with what the door needs.

    Kept in the request's state, for the line that it leaves in the log. Without keys the door
    ``shadow`` is open to this machine alone, by no proxy's word.

    Raises:
        Unauthorized: if there is no valid key, unless none is needed.
        Forbidden: if the key does not allow it.
    """
    access: Access = request["state"]["access"]
    caller = request["state"]["caller"] = access.identify(headers_of(request))
    if need == "key":
        access.require_key(caller)
    elif need == "shadow":
        access.require_here(caller, need, _origin(request))
    elif need != "nothing":
        access.require(caller, need)
    return caller


def _origin(request: Scope) -> str:
    """The address from which it came; empty if a proxy stands between, for it may hide anybody."""
    client = request.get("client")
    if client is None or any(name in _FORWARDED for name, _ in request["headers"]):
        return ""
    host: str = client[0]
    return host
