"""Requests that a server must refuse, and callers who hang up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import msgpack
import numpy as np

from forcegate_bench.load.dialects import forcegate_msgpack
from forcegate_bench.load.http1 import Address, post
from forcegate_bench.subjects.structures import Shaken
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE

__all__ = ["HangUps", "bad_requests"]

_PATH = "/v1/predict"


def bad_requests(model: str, molecule: str) -> list[bytes]:
    """One of each kind: whatever comes, the answer has a status from 400 to 499."""
    good = Shaken(molecule).batch
    ask = forcegate_msgpack(model)
    return [
        post(_PATH, MEDIA_TYPE, b"\xc1 this is not msgpack"),
        post(_PATH, MEDIA_TYPE, ask.encode(good)[:-7]),
        post(_PATH, MEDIA_TYPE, msgpack.packb({"schema": 1, "model": model})),
        post(_PATH, MEDIA_TYPE, msgpack.packb(["a", "list"])),
        post(_PATH, "application/json", b'{"model": "' + model.encode() + b'", "structures": 3}'),
        post(_PATH, "application/json", b"{" * 2000),
        post(_PATH, "text/plain", b"hello"),
        post("/v1/nowhere", MEDIA_TYPE, ask.encode(good)),
        forcegate_msgpack("no_such_model").request(good),
        ask.request(_with(good, positions=np.where(good.positions > 0, np.nan, 0.0))),
        ask.request(_with(good, positions=np.zeros_like(good.positions))),
        ask.request(_with(good, atomic_numbers=np.full_like(good.atomic_numbers, 92))),
        ask.request(_with(good, charges=np.ones_like(good.charges))),
        ask.request(_with(good, pbc=np.ones_like(good.pbc))),
    ]


class HangUps:
    """Callers who send a request, or a part of it, and leave before the answer."""

    def __init__(self, address: Address, requests: Sequence[bytes], every_s: float) -> None:
        self.count = 0
        self._address = address
        self._requests = requests
        self._every_s = every_s
        self._random = random.Random(0)

    async def run(self, seconds: float) -> None:
        """One caller after another for so long."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            await self._once()
            self.count += 1
            await asyncio.sleep(self._random.uniform(0.0, 2.0 * self._every_s))

    async def _once(self) -> None:
        _, writer = await asyncio.open_connection(*self._address)
        request = self._random.choice(self._requests)
        if self._random.random() < 0.5:
            request = request[: self._random.randrange(1, len(request))]
        writer.write(request)
        # Some leave while it is read, some while it waits, some while it runs.
        await asyncio.sleep(self._random.uniform(0.0, 0.02))
        if self._random.random() < 0.5:
            writer.transport.abort()
        writer.close()


def _with(batch: StructureBatch, **changed: np.ndarray) -> StructureBatch:
    return StructureBatch(**{**batch.__dict__, **changed})
