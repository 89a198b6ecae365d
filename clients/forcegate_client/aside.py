"""Work that waits for other threads, away from the thread in which signals raise.

Ctrl-C raises wherever the main thread happens to be. If that is between taking the lock of a future
and the block that gives it back, nobody ever gets it back: the threads that have something to say
to that future wait for good, and so does the process that waits for them.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

__all__ = ["run_aside"]

# A wait may be interrupted just as it ends, and lose what it was told.
_LOOKS_EVERY_S = 0.2


def run_aside(work: Callable[[], None], stop: threading.Event) -> None:
    """Do ``work`` in a thread of its own, and wait for its end.

    Whatever interrupts the wait sets ``stop``, upon which ``work`` ends soon; then it goes on.

    Raises:
        BaseException: whatever ended ``work``, or the wait.
    """
    bell: SimpleQueue[None] = SimpleQueue()
    begun: list[bool] = []
    outcome: list[BaseException | None] = []

    def run() -> None:
        begun.append(True)
        try:
            # Asked after it has told of itself; below, it is the other way round.
            if not stop.is_set():
                work()
        except BaseException as error:
            outcome.append(error)
        else:
            outcome.append(None)
        bell.put(None)

    def wait() -> None:
        while not outcome:
            # In C: no lock of ours is held when it is interrupted.
            with suppress(Empty):
                bell.get(timeout=_LOOKS_EVERY_S)

    try:
        # A Thread's start would wait for a lock of Python's own.
        _thread.start_new_thread(run, ())
        wait()
    except BaseException:
        stop.set()
        if begun:
            wait()
        raise
    if outcome[0] is not None:
        raise outcome[0]
