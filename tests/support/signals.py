"""Signals mean to tests what they mean to a person at a terminal, whoever started the tests."""

from __future__ import annotations

import signal

__all__ = ["take_signals_as_at_a_terminal"]

_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def take_signals_as_at_a_terminal() -> None:
    """Give up what a parent asked to be ignored or held back, here and in children.

    A shell starts background jobs, and ``nohup`` its command, with signals ignored, and children
    inherit that: a server that a test interrupts would never hear of it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in _ENDING:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, *_ENDING})
