"""The names that a server answers to: a page in a browser may give it any other."""

from __future__ import annotations

import re
from collections.abc import Sequence

from forcegate_client.errors import Forbidden, ForcegateError, MalformedRequest
from forcegate_service.settings import Settings, is_loopback

__all__ = ["Hosts"]

_AUTHORITY = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
# Enough for every name and port under which callers with manners come.
_MOST_REMEMBERED = 256


class Hosts:
    """Looks at ``Host`` and ``Origin`` of every request.

    Who opens a page in a browser lets it send requests from this machine. By a name of its own that
    leads to 127.0.0.1, such a page would even read the answers, and a server without keys has
    nothing else to know its callers by. So it answers to the names of this machine alone, and to
    pages that it served itself.
    """

    def __init__(
        self,
        allowed: frozenset[str],
        *,
        any_name: bool,
        own_pages_only: bool,
        origins: Sequence[str] = (),
    ) -> None:
        """``allowed`` are names beside those of loopback, in lower case and without a port;
        ``origins`` those of pages that may ask although they are not this server's.
        """
        self._origins = frozenset(origin.encode("ascii") for origin in origins)
        self._allowed = allowed
        self._any_name = any_name
        self._own_pages_only = own_pages_only
        self._known: set[bytes] = set()

    @classmethod
    def from_settings(cls, settings: Settings) -> Hosts:
        """As the settings ask for it, or as is right for a server with or without keys."""
        named = settings.answered_hosts
        alone = settings.keys_file is None and not settings.allow_anonymous
        return cls(
            named,
            any_name=not named and not alone,
            own_pages_only=alone or bool(named),
            origins=settings.asking_origins,
        )

    def check(self, headers: Sequence[tuple[bytes, bytes]], scheme: str, version: str) -> None:
        """Raise unless a request with ``headers``, whose names are in lower case, is meant for us.

        Raises:
            MalformedRequest: if it names no host, or several.
            Forbidden: if it names another, or comes from another's page.
        """
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1:
            # Before HTTP/1.1 nobody had to name one.
            if not hosts and version == "1.0":
                return
            raise MalformedRequest(
                f"{len(hosts)} Host headers",
                expected="one",
                action="correct the request, or the proxy that made it",
            )
        if not self._any_name and hosts[0] not in self._known:
            self._look_at(hosts[0])
        if self._own_pages_only:
            for origin in [value for name, value in headers if name == b"origin"]:
                own = b"%s://%s" % (scheme.encode("ascii"), hosts[0].lower())
                if origin.lower() not in (own, *self._origins):
                    raise _foreign(f"a request of a page from {origin[:80].decode('latin-1')!r}")

    def _look_at(self, host: bytes) -> None:
        text = host.decode("latin-1").lower()
        match = _AUTHORITY.fullmatch(text)
        name = "" if match is None else match[1].removesuffix(".")
        if name not in self._allowed and not is_loopback(name.strip("[]")):
            raise _foreign(f"a request for the host {text[:80]!r}")
        if len(self._known) < _MOST_REMEMBERED:
            self._known.add(host)


def _foreign(received: str) -> ForcegateError:
    return Forbidden(
        received,
        expected="a name of this machine such as localhost or 127.0.0.1, and pages of this server",
        action="ask for it by such a name, or have whoever runs the server name this one in "
        "FORCEGATE_ALLOWED_HOSTS",
        code="host_not_allowed",
    )
