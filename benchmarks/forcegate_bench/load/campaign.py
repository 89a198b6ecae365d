"""A client that keeps large requests in flight until it is told to stop, in a process of its own.

``python -m forcegate_bench.load.campaign URL MODEL STRUCTURES IN_FLIGHT FROM_HOST``; on SIGTERM it
prints ``{"structures": …, "seconds": …, "others": …}`` and ends.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvloop

from forcegate_bench.load.http1 import Address
from forcegate_bench.machine.cores import on_core

__all__ = ["Campaign", "running_campaign"]

# Making its requests takes seconds; a campaign that never ends would be an accident.
_LONGEST_S = 900.0
_START_TIMEOUT_S = 120.0
_BODIES = 2
_BEGUN = "begun"


@dataclass
class Campaign:
    """What a campaign was answered; empty until it has ended."""

    result: dict[str, float] = field(default_factory=dict)

    @property
    def structures_per_s(self) -> float:
        """Of requests that were answered as a whole."""
        return self.result["structures"] / self.result["seconds"]


@contextmanager
def running_campaign(
    address: Address, model: str, structures: int, in_flight: int, from_host: str, core: int
) -> Iterator[Campaign]:
    """Let one run beside the block, from its first request on.

    Raises:
        ChildProcessError: if it does not begin, or dies.
    """
    campaign = Campaign()
    command = [sys.executable, "-m", __name__, address.url, model]
    with on_core(core):
        process = subprocess.Popen(
            [*command, str(structures), str(in_flight), from_host],
            stdout=subprocess.PIPE,
            text=True,
        )
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != _BEGUN:
            raise ChildProcessError(f"the campaign ended with code {process.wait()}")
        yield campaign
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            text, _ = process.communicate(timeout=_START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            text, _ = process.communicate()
    campaign.result.update(json.loads(text))


async def _run(address: Address, model: str, structures: int, in_flight: int, host: str) -> None:
    from forcegate_bench.load.closed_loop import ClosedLoop
    from forcegate_bench.load.dialects import forcegate_msgpack
    from forcegate_bench.load.pool import Pool
    from forcegate_bench.subjects.subject import MOLECULE

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pool = Pool.make(forcegate_msgpack(model), MOLECULE, structures, most=_BODIES)
    loop = ClosedLoop(address, pool.requests, in_flight, from_host=host)
    began = time.perf_counter()
    asking = asyncio.create_task(loop.run(_LONGEST_S))
    print(_BEGUN, flush=True)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([asking, stopping], return_when=asyncio.FIRST_COMPLETED)
    elapsed = time.perf_counter() - began
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    outcomes = loop.record.all()
    result = {
        "structures": structures * outcomes.count(),
        "seconds": elapsed,
        "others": sum(outcomes.others(200, 429).values()),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    _url, _model, _structures, _in_flight, _host = sys.argv[1:]
    uvloop.run(_run(Address.of(_url), _model, int(_structures), int(_in_flight), _host))
