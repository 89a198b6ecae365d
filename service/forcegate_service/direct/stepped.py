"""A coroutine that runs without a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Generic, TypeVar

__all__ = ["Stepped"]

T = TypeVar("T")


class Stepped(Generic[T]):
    """Runs ``coroutine`` in ``context`` up to the first future that it waits for, at once.

    A task would begin in the next turn of the event loop, and is more than is needed where nobody
    waits for it: what comes out goes to ``done(result, error)``, one of which is None. The
    coroutine may wait for futures only, so no ``asyncio.timeout`` and the like in it.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, None, T],
        done: Callable[[T | None, BaseException | None], None],
        context: Context,
    ) -> None:
        self._coroutine = coroutine
        self._done = done
        self._context = context
        self._waits_for: asyncio.Future[Any] | None = None

    def start(self) -> None:
        """Run up to the first wait; called in the context, and once."""
        self._step(None)

    def throw(self, error: BaseException) -> None:
        """Raise ``error`` where the coroutine waits, and give up what it waits for."""
        future, self._waits_for = self._waits_for, None
        if future is not None:
            future.remove_done_callback(self._wake)
            future.cancel()
            self._context.run(self._step, error)

    def _wake(self, future: asyncio.Future[Any]) -> None:
        if future is not self._waits_for:
            # It was done in the turn in which it was given up, and this call could not be undone.
            return
        self._waits_for = None
        self._step(None)

    def _step(self, error: BaseException | None) -> None:
        try:
            work = self._coroutine
            future = work.send(None) if error is None else work.throw(error)
        except StopIteration as stop:
            self._done(stop.value, None)
        except BaseException as raised:
            # Cancellations too: whoever throws one hears how it ended.
            self._done(None, raised)
        else:
            # What a task does with a future that is awaited in it.
            future._asyncio_future_blocking = False
            self._waits_for = future
            future.add_done_callback(self._wake, context=self._context)
