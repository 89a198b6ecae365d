"""Who is asking, and what they may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forcegate_client.errors import Forbidden, Unauthorized
from forcegate_service.api.access.keyring import KeyRing
from forcegate_service.api.access.keys import Scope, secret_matches, split
from forcegate_service.api.access.quotas import Quotas
from forcegate_service.settings import Settings, is_loopback

__all__ = ["ANONYMOUS", "Access", "Caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """``id`` is that of the key, or ``anonymous``; ``structures_per_hour`` what the key may
    have computed, if that is limited.
    """

    id: str
    scopes: frozenset[str]
    structures_per_hour: int | None = None


ANONYMOUS = Caller("anonymous", frozenset({"predict", "report"}))


class Access:
    """Turns a request's headers into a caller, and a caller's scopes into a yes or a no."""

    def __init__(self, keys: KeyRing | None, *, allow_anonymous: bool) -> None:
        """Without ``keys`` everybody is anonymous, whatever key they show."""
        self._keys = keys
        self._allow_anonymous = allow_anonymous
        self.quotas = Quotas()

    @classmethod
    def from_settings(cls, settings: Settings) -> Access:
        """With the keys of ``settings.keys_file``, if there is one.

        Raises:
            KeyFileError: if it cannot be used.
        """
        keys = None if settings.keys_file is None else KeyRing(settings.keys_file)
        return cls(keys, allow_anonymous=settings.allow_anonymous)

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """Who sent ``headers``, whose names are in lower case or compared without regard to it.

        Raises:
            Unauthorized: if there is no valid key, unless that is allowed; a wrong one never is.
        """
        if self._keys is None:
            return ANONYMOUS
        credentials = headers.get("authorization")
        if credentials is None:
            if self._allow_anonymous:
                return ANONYMOUS
            raise _unauthorized("a request without a key")
        scheme, _, text = credentials.partition(" ")
        parts = split(text.strip()) if scheme.lower() == "bearer" else None
        if parts is None:
            # Not repeated: it may be a key with a slip in it, or another server's password.
            raise _unauthorized("an Authorization header without a key of this server's form")
        key_id, secret = parts
        record = self._keys.find(key_id)
        if not secret_matches(record, secret) or record is None:
            raise _unauthorized("a key that this server does not know")
        if record.revoked is not None:
            raise _unauthorized(f"the key {key_id}, which was revoked")
        if record.is_expired:
            raise _unauthorized(f"the key {key_id}, which expired on {record.expires:%Y-%m-%d}")
        return Caller(record.id, frozenset(record.scopes), record.structures_per_hour)

    def require(self, caller: Caller, scope: Scope) -> None:
        """Raise unless ``caller`` has ``scope``.

        Raises:
            Forbidden: if not.
        """
        if scope not in caller.scopes:
            if self._keys is None:
                raise Forbidden(
                    "a request to a server without keys, where nobody has that right",
                    expected=f"a key with the scope {scope}",
                    action="start the server with --keys-file for that; to have it look at models "
                    "again, send it SIGHUP (kill -HUP with its process id)",
                )
            who = "no key" if caller.id == ANONYMOUS.id else f"the key {caller.id}"
            raise Forbidden(
                f"{who}, which allows {', '.join(sorted(caller.scopes))}",
                expected=f"a key with the scope {scope}",
                action="ask whoever runs this server for such a key",
            )

    def require_here(self, caller: Caller, scope: Scope, host: str) -> None:
        """Raise unless ``caller`` has ``scope``; without keys, unless ``host`` is this machine.

        Raises:
            Forbidden: if not.
        """
        if self._keys is not None or not is_loopback(host):
            self.require(caller, scope)

    def require_key(self, caller: Caller) -> None:
        """Raise if keys are in force and ``caller`` showed none.

        Raises:
            Unauthorized: in that case, even where anonymous predictions are allowed.
        """
        if self._keys is not None and caller.id == ANONYMOUS.id:
            raise _unauthorized("a request without a key")

    def reload(self) -> str:
        """Read the keys again now rather than within a second; why they stay, or nothing."""
        if self._keys is None:
            return ""
        self._keys.reload()
        return self._keys.complaint


def _unauthorized(received: str) -> Unauthorized:
    return Unauthorized(
        received,
        expected="the header `Authorization: Bearer fg_…`",
        action="set FORCEGATE_API_KEY for forcegate's clients, or ask whoever runs this server "
        "for a key",
    )
