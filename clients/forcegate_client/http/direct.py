"""Requests straight over sockets of our own, at a fraction of what they cost through httpx."""

from __future__ import annotations

import select
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import httpx

from forcegate_client.http.answers import Answer
from forcegate_client.http.connection import Timeouts
from forcegate_client.http.http1 import Target, read_answer

__all__ = ["KEEPALIVE_EXPIRY_S", "DirectTransport"]

# Shorter than the server's keep-alive (120 s) and that of common proxies (75 s), so that the
# client is the one that lets go.
KEEPALIVE_EXPIRY_S = 60.0

_PORTS = {"http": 80, "https": 443}
_READ_BYTES = 64 * 1024


class DirectTransport:
    """Keeps connections to one server open; threads share it, processes do not.

    A request has a connection to itself, the one that was used last if any is idle. Certificates
    are checked against those that httpx would use: ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` if set,
    else certifi's.
    """

    def __init__(self, url: httpx.URL, timeouts: Timeouts, clock: Callable[[], float]) -> None:
        """Nothing is opened before the first request to ``url``'s host."""
        self.proxy: str | None = None
        self._host = url.raw_host.decode("ascii")
        self._port = url.port or _PORTS[url.scheme]
        self._tls = _certificates() if url.scheme == "https" else None
        self._timeouts = timeouts
        self._clock = clock
        # Not one for each thread: programs such as ASE's NEB start new threads at every step.
        self._idle: deque[_Link] = deque()
        self._closed = False

    def send(self, target: Target, request_id: str, body: bytes | None = None) -> Answer:
        """One request and its answer.

        Raises:
            httpx.TransportError: as httpx would, if there is no complete answer.
            ServerUnreachable: if the answer is too large.
        """
        deadline = self._clock() + self._timeouts.total_s
        link = self._idle_link() or self._connect()
        try:
            whole = link.write(target.message(request_id, body), deadline)
            answer, reusable = read_answer(lambda: link.read(deadline), target.url)
        except BaseException:
            link.close()
            raise
        if whole and reusable:
            self._keep(link)
        else:
            link.close()
        return answer

    def close(self) -> None:
        """Close what is idle now; what is in use is closed after its answer."""
        self._closed = True
        while (link := self._pop()) is not None:
            link.close()

    def abandon(self) -> None:
        """Close this process's copies of the sockets; those of its parent stay connected."""
        self.close()

    def _idle_link(self) -> _Link | None:
        while (link := self._pop()) is not None:
            # One that the server has closed can be read from: there stands the end.
            if self._clock() - link.idle_since < KEEPALIVE_EXPIRY_S and not link.readable():
                return link
            link.close()
        return None

    def _keep(self, link: _Link) -> None:
        now = link.idle_since = self._clock()
        self._idle.append(link)
        # What a burst of threads left behind; another thread may be faster.
        with suppress(IndexError):
            while now - self._idle[0].idle_since > KEEPALIVE_EXPIRY_S:
                self._idle.popleft().close()
        if self._closed:
            self.close()

    def _pop(self) -> _Link | None:
        # Atomic, and without a lock that a fork could leave locked.
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connect(self) -> _Link:
        timeout = min(self._timeouts.connect_s, self._timeouts.total_s)
        try:
            connected = socket.create_connection((self._host, self._port), timeout)
            try:
                # Without it, the last packet of a large request waits for an acknowledgement.
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls is not None:
                    connected = self._tls.wrap_socket(connected, server_hostname=self._host)
            except BaseException:
                connected.close()
                raise
        except TimeoutError as error:
            raise httpx.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        return _Link(connected, self._timeouts, self._clock)


class _Link:
    """One connection, with the limits of each attempt."""

    def __init__(
        self, connected: socket.socket, timeouts: Timeouts, clock: Callable[[], float]
    ) -> None:
        self.idle_since = 0.0
        self._socket = connected
        self._timeouts = timeouts
        self._clock = clock

    def write(self, message: bytes, deadline: float) -> bool:
        """Send ``message``; false if the server did not take all of it.

        That is no error yet: a server that refuses a large body may have said so before it hung up.
        """
        rest = memoryview(message)
        while rest:
            self._limit(deadline, httpx.WriteTimeout)
            try:
                rest = rest[self._socket.send(rest) :]
            except TimeoutError as error:
                raise httpx.WriteTimeout(self._reason(error, deadline)) from error
            except OSError:
                return False
        return True

    def read(self, deadline: float) -> bytes:
        """What the server sent next; nothing at the end of the connection."""
        self._limit(deadline, httpx.ReadTimeout)
        try:
            return self._socket.recv(_READ_BYTES)
        except TimeoutError as error:
            raise httpx.ReadTimeout(self._reason(error, deadline)) from error
        except OSError as error:
            raise httpx.ReadError(str(error)) from error

    def readable(self) -> bool:
        """Whether a read would return at once."""
        if not hasattr(select, "poll"):
            return bool(select.select([self._socket], [], [], 0)[0])
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Let go of the connection."""
        self._socket.close()

    def _limit(self, deadline: float, kind: type[httpx.TimeoutException]) -> None:
        """Let the next read or write take no longer than it may."""
        left = deadline - self._clock()
        if left <= 0:
            raise kind(self._timeouts.exceeded)
        self._socket.settimeout(min(self._timeouts.read_s, left))

    def _reason(self, error: TimeoutError, deadline: float) -> str:
        return str(error) if self._clock() < deadline else self._timeouts.exceeded


def _certificates() -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
