"""One version of a model as it is served: what evaluates it, and what that costs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.runtime import LoadedRuntime
from forcegate_service.queue.microbatch import BatchLimit

__all__ = ["ServedVersion"]


@dataclass(eq=False)
class ServedVersion:
    """A runtime, and how its work is divided into batches.

    ``card`` may be replaced by one of the same weights with other measurements; ``atoms_alone``
    (eV) is what the model answers for single atoms, by atomic number.
    """

    runtime: LoadedRuntime
    limit: BatchLimit
    card: ModelCard
    atoms_alone: npt.NDArray[np.float64]
    _users: int = 0
    _left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """``model/version``."""
        return f"{self.card.name}/{self.card.version}"

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Somebody is being answered: the runtime must stay open."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._left.set()

    async def unused(self) -> None:
        """Wait until nobody uses it."""
        while self._users:
            self._left.clear()
            await self._left.wait()
