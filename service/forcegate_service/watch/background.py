"""What must not happen on the event loop: one thread, and a bounded queue before it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, Full, Queue
from threading import Thread
from typing import Generic, TypeVar

__all__ = ["Background"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Longer than any write to a disk that works.
_PATIENCE_S = 10.0


class Background(Generic[T]):
    """Calls ``begin``, then hands items to ``handle`` in their order, on a thread of its own.

    Items that wait are handed over ``together``, so many at most. What the two raise is logged, and
    the thread goes on.
    """

    def __init__(
        self,
        name: str,
        handle: Callable[[Sequence[T]], None],
        *,
        capacity: int,
        together: int,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self._begin = begin
        self._handle = handle
        self._together = together
        self._queue: Queue[T | None] = Queue(capacity)
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, item: T) -> bool:
        """Queue ``item``; False if there is no room, and then it is the caller's to count."""
        try:
            self._queue.put_nowait(item)
        except Full:
            return False
        return True

    def close(self) -> None:
        """Do what is queued, then end; a thread that hangs is left behind."""
        try:
            self._queue.put(None, timeout=_PATIENCE_S)
        except Full:
            logger.error("%s does not come to its end", self._thread.name)
            return
        self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        self._guarded(self._begin, 0)
        ended = False
        while not ended:
            items, ended = self._collect()
            if items:
                self._guarded(partial(self._handle, items), len(items))

    def _guarded(self, work: Callable[[], None], items: int) -> None:
        try:
            work()
        except Exception:
            logger.exception("%s failed on %d items", self._thread.name, items)

    def _collect(self) -> tuple[list[T], bool]:
        """What waits, at least one item, and whether it is the last."""
        items: list[T] = []
        found = self._queue.get()
        while found is not None:
            items.append(found)
            if len(items) == self._together:
                return items, False
            try:
                found = self._queue.get_nowait()
            except Empty:
                return items, False
        return items, True
