"""One connection of a load generator: at most one request is on its way."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

from forcegate_bench.load.http1 import Address, AnswerReader, Unreadable

__all__ = ["Link", "LinkOwner", "connect"]


class LinkOwner(Protocol):
    """Whoever asks through links."""

    def answered(self, link: Link, status: int, body: bytes) -> None:
        """The request of ``link`` has its answer; it may ask again."""

    def lost(self, link: Link) -> None:
        """The connection is gone, with its request if it was ``busy``."""


class Link(asyncio.Protocol):
    """``index`` and ``due_s`` belong to the request that is on its way while ``busy``."""

    def __init__(self, owner: LinkOwner) -> None:
        self.busy = False
        self.index = 0
        self.due_s = 0.0
        self._owner = owner
        self._reader = AnswerReader()
        self._transport: Any = None

    def ask(self, index: int, request: bytes, due_s: float | None = None) -> None:
        """Send ``request``, which was due at ``due_s``; now if nothing is said."""
        self.busy = True
        self.index = index
        self.due_s = time.perf_counter() if due_s is None else due_s
        self._transport.write(request)

    @property
    def closing(self) -> bool:
        """Whether the server ends the connection with the last answer, as with one that is old."""
        return self._reader.closing

    def close(self) -> None:
        """Hang up; ``lost`` is not called."""
        self._owner = _NOBODY
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to ask."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """A part of the answer, mostly all of it."""
        try:
            answer = self._reader.feed(data)
        except Unreadable:
            self._transport.abort()
            return
        if answer is not None:
            self.busy = False
            self._owner.answered(self, *answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner."""
        self._owner.lost(self)


class _Nobody:
    def answered(self, link: Link, status: int, body: bytes) -> None:
        """Not wanted any more."""

    def lost(self, link: Link) -> None:
        """Known."""


_NOBODY = _Nobody()


async def connect(address: Address, owner: LinkOwner, from_host: str | None = None) -> Link:
    """Open a link; ``from_host`` is the address that the server sees, one of loopback's own.

    Raises:
        OSError: if nobody listens there.
    """
    loop = asyncio.get_running_loop()
    local = None if from_host is None else (from_host, 0)
    _, link = await loop.create_connection(lambda: Link(owner), *address, local_addr=local)
    return link
