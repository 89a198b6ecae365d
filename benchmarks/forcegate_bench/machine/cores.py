"""Which process runs on which of two cores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Layout", "busy", "layouts", "on_core"]


@dataclass(frozen=True)
class Layout:
    """Cores of the gateway's parts and of the traffic; ``remark`` says it in words."""

    name: str
    remark: str
    inference: int
    event_loop: int
    traffic: int


def layouts(core: int, other: int) -> tuple[Layout, Layout]:
    """The server on two cores, with the traffic on its event loop's; the server on one core.

    Raises:
        ValueError: unless these are two cores of this machine.
    """
    last = (os.cpu_count() or 1) - 1
    if core == other or not {core, other} <= set(range(last + 1)):
        raise ValueError(
            f"cores {core} and {other}; expected two different ones from 0 to {last}; "
            "give --core and --other-core"
        )
    shared = "Two cores: inference on one, the gateway's event loop and the traffic on the other."
    apart = "One core: all of the server on one, the traffic on the other."
    return (
        Layout("two cores", shared, core, other, other),
        Layout("one core", apart, core, core, other),
    )


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """This thread, and what is started in the block, keep to ``core``; then it goes back."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def busy(core: int) -> Iterator[None]:
    """Plain Python keeps ``core`` at work; cores of a virtual machine may share more than a cache.

    The event loop of a gateway keeps one as busy, which a baseline beside an idle core knows
    nothing of.
    """
    spin = f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: sum(range(1000))"
    process = subprocess.Popen([sys.executable, "-c", spin])
    try:
        yield
    finally:
        process.kill()
        process.wait()
