"""HTTP/1.1 over one connection: uvicorn's, with bounds, and deaf to what it cannot answer."""

from __future__ import annotations

import asyncio
import math
import random
import re
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from forcegate_client.errors import ForcegateError
from forcegate_service.api.http.connections import Connections
from forcegate_service.api.http.exchange import Exchange
from forcegate_service.api.http.farewell import Farewell
from forcegate_service.api.http.refusals import CROWDED, MAX_HEAD_BYTES, malformed, too_long

__all__ = ["HEAD_TIMEOUT_S", "MAX_HEAD_BYTES", "READER_TIMEOUT_S", "Connection", "connection_class"]

# From the first byte of a request, or from the connection, to the end of its headers. Bodies have
# the request's own deadline, and idle connections between requests the keep-alive.
HEAD_TIMEOUT_S = 30.0
# An answer of which the caller takes nothing for so long is not wanted.
READER_TIMEOUT_S = 60.0
# A request that was answered before its end is read to it if so much of it is missing; otherwise
# its connection ends with the answer.
_WORTH_READING_BYTES = 64 * 1024
# So that those who came together do not have to come back together.
_AGE_SPREAD = (0.9, 1.1)
_VERSIONS = ("1.1", "1.0")
_NOT_PLAIN = re.compile(rb"[?#%]|^//")
_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding", b"upgrade"})


class Connection(HttpToolsProtocol):
    """Reads requests, one after the other, and hands each to the application.

    After a request of which the end is in doubt nothing is read any more: what follows it might be
    its body to one side of the connection and a request to the other. It is refused in its turn,
    and the connection ends. So are an upgrade with a body, heads and trailers without an end, and
    whatever is no HTTP/1.1.

    Whatever arrives while no request is being answered belongs to a head, or to the rest of a body
    that nobody reads any more: both must end in time. And an answer must be taken: otherwise a
    caller that sends a byte a minute, or takes none, would keep its connection, and its memory, for
    as long as it likes.

    A connection older than ``connection_age_s`` or so ends with its next answer, which says so.
    """

    connection_age_s = math.inf
    head_timeout_s = HEAD_TIMEOUT_S
    reader_timeout_s = READER_TIMEOUT_S
    _head_timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _untaken = 0
    _deaf = False
    # Of the message that is being read.
    _in_head = False
    _in_body = False
    _unproductive = 0
    _keep_alive = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A head is due."""
        self._farewell = Farewell(transport, self._leave)
        super().connection_made(self._farewell)  # type: ignore[arg-type]
        age_s = self.connection_age_s * random.uniform(*_AGE_SPREAD)  # noqa: S311 (no secret)
        self._old_at = self.loop.time() + age_s
        self._registry = cast(Connections, self.app_state["connections"])
        self._host = self.client[0] if self.client else ""
        self._counted = self._registry.admit(self, self._host)
        if self._counted:
            self._expect_head()
        else:
            # Without the application, its log and its time.
            self._deaf = True
            self.transport.write(CROWDED)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Something came."""
        if self._deaf:
            self._farewell.thrown_away(len(data))
            return
        self._unset_keepalive_if_required()
        self._unproductive += len(data)
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                # It had no body, so that what follows is the next request.
                data = data[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                cause = error.__context__
                self._refuse(cause if isinstance(cause, ForcegateError) else malformed(str(error)))
                return
        if self.transport.is_closing():
            return
        if self._in_body:
            # Trailers and extensions of chunks are part of no body, and the parser keeps them.
            if self._unproductive > MAX_HEAD_BYTES:
                self._refuse(too_long("trailers or chunk extensions"))
        elif self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(too_long("a head"))
        if self._head_timer is None and (
            self._in_head or not (self.timeout_keep_alive_task or self._answering())
        ):
            self._expect_head()

    def on_message_begin(self) -> None:
        """Another head has begun."""
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head; those after a body are thrown away."""
        if self._in_body:
            self._unproductive += len(name) + len(value)
            if self._unproductive > MAX_HEAD_BYTES:
                raise too_long("trailers")
            if name.lower() in _FRAMING:
                # The parser would heed it, and the application could not.
                raise malformed("a trailer that says where the request ends")
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_came()
        self._in_head = False
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            raise malformed(f"HTTP/{version}")
        length = self._announced()
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise malformed("CONNECT, which is for proxies")
            if length:
                raise malformed("a request to change the protocol, with a body")
        if version != "1.1":
            self.scope["http_version"] = version
        self._address()
        self._in_body = True
        self._unproductive = 0
        self._keep_alive = (
            version != "1.0" and self.parser.should_keep_alive() and self.loop.time() < self._old_at
        )
        behind_others = self._answering()
        # A request of which much is missing may be answered before its end; on_message_complete
        # knows better.
        self._begin(self._keep_alive and length <= _WORTH_READING_BYTES, behind_others)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._unproductive = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is there, with its body."""
        super().on_message_complete()
        self._in_body = False
        self._unproductive = 0
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keep_alive
        elif self.cycle.response_complete:
            # It was answered before its end.
            self._head_came()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def pause_writing(self) -> None:
        """The caller does not take its answer as fast as it is written."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """It has taken it."""
        super().resume_writing()
        self._reader_came()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._head_came()
        self._reader_came()
        self._farewell.over()
        if self._counted:
            self._counted = False
            self._registry.left(self, self._host)
        super().connection_lost(exc)

    def make_room(self) -> None:
        """Another connection needs this one's place; nothing is being answered."""
        self._counted = False
        self.transport.abort()

    def on_response_complete(self) -> None:
        """An answer has left."""
        super().on_response_complete()
        if self._counted and not self._answering():
            self._registry.rests(self, self._host)

    def _address(self) -> None:
        """Say in the scope what is asked for."""
        raw, query = self.url, b""
        # Most targets are plain paths.
        if not raw.startswith(b"/") or _NOT_PLAIN.search(raw):
            target = httptools.parse_url(raw)
            if target.host is not None and not self._names(target.host, target.port):
                raise malformed("a target at another host than its Host header")
            raw, query = target.path, target.query or b""
        path = raw.decode("ascii")
        scope = cast(dict[str, Any], self.scope)
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw
        scope["query_string"] = query

    def _names(self, host: bytes, port: int | None) -> bool:
        """Whether the Host header says the same."""
        authority = host if port is None else b"%s:%d" % (host, port)
        return any(name == b"host" and value == authority for name, value in self.headers)

    def _announced(self) -> float:
        """Bytes of the body that the head announces; infinite for chunks."""
        for name, value in self.headers:
            if name == b"transfer-encoding":
                return math.inf
            if name == b"content-length":
                # Which the parser has read.
                return int(value)
        return 0.0

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: ForcegateError) -> None:
        """Answer the request that is being read with ``error``, in its turn, and read no other."""
        self._deaf = True
        self._head_came()
        behind_others = self._answering()
        if self._in_body:
            if self.cycle.response_started:
                self.transport.close()
                return
            behind_others = self._take_back()
        headers = self.headers or []
        super().on_message_begin()
        # What the application finds instead of a request.
        cast(dict[str, Any], self.scope).update(
            method="", path="", raw_path=b"", query_string=b"", headers=headers, refusal=error
        )
        self.expect_100_continue = False
        self._begin(False, behind_others)

    def _begin(self, keep_alive: bool, behind_others: bool) -> None:
        """Hand ``self.scope`` to the application, now or after the requests before it."""
        self.cycle = Exchange(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        if behind_others:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            self._registry.works(self, self._host)
            self._start_asgi_task(self.cycle, self.app)

    def _take_back(self) -> bool:
        """Forget the request whose body is being read; whether others are still to be answered."""
        if self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()
            return True
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        return False

    def _leave(self) -> bool:
        """Whether the caller may still be sending when the connection is closed."""
        self._head_came()
        self._unset_keepalive_if_required()
        expected = self._deaf or self._in_body
        self._deaf = True
        if expected:
            # An orderly stop of the server does not wait for it.
            self.connections.discard(self)
            self.flow.resume_reading()
        return expected

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout_s, self._give_up)

    def _watch_reader(self) -> None:
        self._reader_came()
        self._untaken = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(self.reader_timeout_s, self._look_at_reader)

    def _look_at_reader(self) -> None:
        if self.transport.get_write_buffer_size() < self._untaken:
            self._watch_reader()
        else:
            # Closing would wait for the caller.
            self.transport.abort()

    def _reader_came(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _head_came(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        # Nobody who is sending is waited for once more.
        self._in_body = False
        self.transport.close()


def connection_class(connection_age_s: float) -> type[Connection]:
    """The class of connections that grow that old."""
    return type("AgeingConnection", (Connection,), {"connection_age_s": connection_age_s})
