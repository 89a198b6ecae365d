"""Closed-loop traffic from this process, and what it was like."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvloop

from forcegate_bench.load.closed_loop import ClosedLoop
from forcegate_bench.load.http1 import Address
from forcegate_bench.load.pool import Pool
from forcegate_bench.load.record import Outcomes
from forcegate_bench.machine.cores import on_core
from forcegate_bench.machine.procfs import cpu_shares

__all__ = ["WARM_UP", "Traffic", "drive", "send"]

T = TypeVar("T")

# The part of the time that is not counted.
WARM_UP = 0.2
# Primes, so that samples are not always the same requests.
_SAMPLE_SINGLE, _SAMPLE_BATCH = 97, 3


@dataclass(frozen=True)
class Traffic:
    """What so many ``clients`` got, with ``copies`` structures in each request.

    ``structures_per_s`` are those with an answer; ``failed`` are the requests that did not end with
    200, outside of the clock's time too; ``cpu`` is the part of a core that each process took, this
    one included.
    """

    clients: int
    copies: int
    outcomes: Outcomes
    structures_per_s: float
    failed: int
    samples: Sequence[tuple[int, bytes]]
    cpu: dict[int, float] = field(default_factory=dict)

    @property
    def own_cpu(self) -> float:
        """The part of a core that the load generator took."""
        return self.cpu[os.getpid()]


def send(
    address: Address,
    pool: Pool,
    clients: int,
    seconds: float,
    core: int,
    watched: Iterable[int] = (),
    from_host: str | None = None,
) -> Traffic:
    """Let ``clients`` ask for so long, this process on ``core``; the first fifth does not count.

    Raises:
        OSError: if the server does not listen any more.
        TimeoutError: if answers do not come.
    """
    every = _SAMPLE_SINGLE if pool.copies == 1 else _SAMPLE_BATCH
    loop = ClosedLoop(address, pool.requests, clients, sample_every=every, from_host=from_host)

    async def run() -> Traffic:
        begin = time.perf_counter() + WARM_UP * seconds
        counted = (1.0 - WARM_UP) * seconds
        pids = [os.getpid(), *watched]
        _, cpu = await asyncio.gather(
            loop.run(seconds), cpu_shares(pids, WARM_UP * seconds, counted)
        )
        outcomes = loop.record.answered_between(begin, begin + counted)
        rate = pool.copies * loop.record.rate_between(begin, begin + counted)
        failed = sum(loop.record.all().others(200).values())
        return Traffic(clients, pool.copies, outcomes, rate, failed, loop.record.samples, cpu)

    return drive(run(), core)


def drive(work: Coroutine[Any, Any, T], core: int) -> T:
    """Run ``work`` on an event loop of uvloop's, this thread on ``core``."""
    # Otherwise the garbage collector would walk through all of torch every now and then.
    gc.collect()
    gc.freeze()
    try:
        with on_core(core):
            return uvloop.run(work)
    finally:
        gc.unfreeze()
