"""Who looks at every answer, after it has left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from forcegate_client.errors import ForcegateError
from forcegate_service.contract.card import ModelCard
from forcegate_service.predict.prepare import Prepared
from forcegate_service.queue.dispatcher import Answer

__all__ = ["HearsOfUnloading", "Observer", "Served"]


@dataclass(frozen=True, slots=True)
class Served:
    """A request that was computed: the model, what was asked, what came out, and who asked.

    ``answers`` belong to ``prepared.pieces``, one by one; ``failed`` are the structures without a
    good answer, by their index in the request; ``caller`` is the id of a key, or ``anonymous``.
    """

    card: ModelCard
    prepared: Prepared
    answers: Sequence[Answer]
    failed: Mapping[int, ForcegateError]
    caller: str


class Observer(Protocol):
    """Hears of every request on the event loop, after its answer was written.

    It must be quick, bounded in memory, and may not change what it is shown. What it raises is
    logged and forgotten: nobody's prediction depends on it.
    """

    def served(self, seen: Served) -> None:
        """A request was computed."""

    def close(self) -> None:
        """The gateway stops: write what is to be kept."""


@runtime_checkable
class HearsOfUnloading(Protocol):
    """An observer that keeps something for each version."""

    def unloaded(self, card: ModelCard) -> None:
        """The version of ``card`` is not served any more; all of its answers were shown."""
