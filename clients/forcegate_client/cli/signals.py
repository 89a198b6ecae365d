"""Ctrl-C, a batch system's SIGTERM and a terminal that closes: all end a command in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stopped", "stoppable", "undisturbed"]

# Windows has no SIGHUP.
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """A signal that asks the process to end; handled wherever Ctrl-C is."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @staticmethod
    def exit_code(stop: KeyboardInterrupt) -> int:
        """128 and the number of the signal, as shells have it."""
        return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)

    @staticmethod
    def word(stop: KeyboardInterrupt) -> str:
        """What happened, in a word."""
        if isinstance(stop, Stopped):
            return f"stopped by {signal.Signals(stop.number).name}"
        return "interrupted"


@contextmanager
def stoppable() -> Iterator[None]:
    """While the block runs, signals that would end the process at once raise ``Stopped``.

    A signal that is ignored (``nohup``) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, _raise)
        for number in _SIGNALS
        if signal.getsignal(number) is signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """While the block saves what there is, a second Ctrl-C does not take that away as well."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *_SIGNALS)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise(number: int, _: FrameType | None) -> None:
    raise Stopped(number)
