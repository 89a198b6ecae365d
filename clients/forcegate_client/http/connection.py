"""Where the server is and how to reach it: URL, key and timeouts, from arguments or environment."""

from __future__ import annotations

import ipaddress
import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from forcegate_client.errors import ServerUnreachable

__all__ = [
    "ALLOW_PLAIN_HTTP",
    "DEFAULT_URL",
    "REQUEST_ID",
    "Connection",
    "Timeouts",
    "is_loopback",
    "shown",
]

ALLOW_PLAIN_HTTP = "FORCEGATE_ALLOW_PLAIN_HTTP"
DEFAULT_URL = "http://127.0.0.1:8000"
REQUEST_ID = "X-Request-ID"
"""The header that names a request, and comes back with its answer."""

_YES = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True)
class Timeouts:
    """Limits of one attempt: to connect, between two packets of the answer, and in total."""

    connect_s: float = 5.0
    read_s: float = 120.0
    total_s: float = 300.0

    @property
    def exceeded(self) -> str:
        """What to say of an attempt whose time is up."""
        return f"no complete answer in {self.total_s:g} s"

    def for_httpx(self) -> dict[str, float]:
        """The same limits in the form that an ``httpx.Request`` carries."""
        read = min(self.read_s, self.total_s)
        connect = min(self.connect_s, self.total_s)
        return {"connect": connect, "read": read, "write": read, "pool": read}


@dataclass(frozen=True)
class Connection:
    """The server's base URL (a path prefix is kept) and the key to show it, never printed."""

    url: httpx.URL = field(repr=False)
    api_key: str | None = field(default=None, repr=False)

    @classmethod
    def resolve(
        cls,
        url: str | None = None,
        api_key: str | None = None,
        environ: Mapping[str, str] = os.environ,
        *,
        allow_plain_http: bool | None = None,
    ) -> Connection:
        """Arguments first, then ``FORCEGATE_URL`` and ``FORCEGATE_API_KEY``, then this machine.

        Over ``http`` to another machine everybody on the way can read a key or a password, so none
        is sent unless ``allow_plain_http``, or else ``FORCEGATE_ALLOW_PLAIN_HTTP=1``, says so.

        Raises:
            ServerUnreachable: if the URL is not one of ``http`` or ``https`` with a host, if no
                header can hold the key, or if a key would be sent in the clear.
        """
        text = (url or environ.get("FORCEGATE_URL") or DEFAULT_URL).strip()
        try:
            parsed = httpx.URL(text.rstrip("/"))
        except httpx.InvalidURL as error:
            raise _not_a_server(text, f" ({error})") from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise _not_a_server(text)
        key = (api_key or environ.get("FORCEGATE_API_KEY") or "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ServerUnreachable(
                "an API key with line breaks or letters beyond ASCII",
                expected="the key as it was given to you",
                action="pass api_key= or set FORCEGATE_API_KEY",
                code="api_key_invalid",
            )
        if allow_plain_http is None:
            allow_plain_http = environ.get(ALLOW_PLAIN_HTTP, "").strip().lower() in _YES
        connection = cls(url=parsed, api_key=key or None)
        if connection.shows_its_key and not allow_plain_http:
            raise ServerUnreachable(
                f"a key for {connection}, where everybody on the way could read it",
                expected="https, or a server on this machine",
                action=f"use https://, or allow it with {ALLOW_PLAIN_HTTP}=1 (allow_plain_http="
                "True) if you trust the network",
                code="plain_http_refused",
            )
        return connection

    def __str__(self) -> str:
        return shown(self.url)

    @property
    def shows_its_key(self) -> bool:
        """Whether a key or password would leave this machine unencrypted."""
        secret = self.api_key or self.url.username or self.url.password
        return bool(secret) and self.url.scheme == "http" and not is_loopback(self.url)

    def endpoint(self, path: str) -> httpx.URL:
        """The URL of a route such as ``/v1/predict`` below the base URL."""
        return self.url.copy_with(path=self.url.path.rstrip("/") + path)

    def headers(self) -> dict[str, str]:
        """What every request carries; a name and password in the URL go before the key."""
        headers = {"User-Agent": "forcegate-client"}
        if self.url.username or self.url.password:
            pair = f"{self.url.username}:{self.url.password}".encode()
            headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
        elif self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return headers


def is_loopback(url: httpx.URL) -> bool:
    """Whether ``url`` is certainly on this machine."""
    host = url.host.rstrip(".").lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def shown(url: httpx.URL) -> str:
    """A URL for messages and logs: without the name and password that it may hold."""
    return str(url.copy_with(userinfo=b""))


def _not_a_server(text: str, why: str = "") -> ServerUnreachable:
    return ServerUnreachable(
        f"the server URL {text!r}{why}",
        expected=f"a URL such as {DEFAULT_URL} or https://host/prefix",
        action="pass url= or set FORCEGATE_URL",
        code="url_invalid",
    )
