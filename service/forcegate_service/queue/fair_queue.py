"""Whose turn it is: deficit round-robin (Shreedhar & Varghese 1995) over callers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

__all__ = ["FairQueue", "Tenant"]

T = TypeVar("T")


class Tenant(NamedTuple):
    """A caller (a key, or whoever has none) and one of its connections; ``key`` is the key's id."""

    caller: str
    connection: str
    key: str = "anonymous"


@dataclass(slots=True)
class _Caller(Generic[T]):
    """What one caller waits for; its connections take turns, item by item."""

    lines: dict[str, deque[tuple[float, T]]] = field(default_factory=dict)
    deficit: float = 0.0

    def push(self, connection: str, share: float, item: T) -> None:
        self.lines.setdefault(connection, deque()).append((share, item))

    def next(self) -> tuple[float, T]:
        return next(iter(self.lines.values()))[0]

    def pop(self) -> None:
        connection, line = next(iter(self.lines.items()))
        del self.lines[connection]
        line.popleft()
        if line:
            self.lines[connection] = line


class FairQueue(Generic[T]):
    """Packs batches so that each caller gets the same part of the time.

    The share of an item is the part of a batch that it fills. In each round every caller may take
    ``quantum`` of a batch; what it does not use it keeps for its next turn, as long as something of
    it waits. So who asks for one structure is in the next batch but one, whatever others have
    queued, or the same caller on other connections.
    """

    def __init__(self, quantum: float = 0.125) -> None:
        self._quantum = quantum
        # In the order of their turns; each has items.
        self._callers: dict[str, _Caller[T]] = {}

    def __bool__(self) -> bool:
        return bool(self._callers)

    def push(self, tenant: Tenant, share: float, item: T) -> None:
        """Queue ``item`` behind the others of its tenant."""
        caller = self._callers.get(tenant.caller)
        if caller is None:
            caller = self._callers[tenant.caller] = _Caller()
        caller.push(tenant.connection, share, item)

    def pack(self, wanted: Callable[[T], bool] = lambda item: True) -> list[T]:
        """The next batch: items whose shares sum up to at most 1, or a single larger one.

        What is not ``wanted`` any more is dropped on the way.
        """
        batch: list[T] = []
        filled = 0.0
        while self._callers:
            name, caller = next(iter(self._callers.items()))
            alone = len(self._callers) == 1
            caller.deficit += self._quantum
            while caller.lines:
                share, item = caller.next()
                if not wanted(item):
                    caller.pop()
                    continue
                if batch and filled + share > 1.0:
                    # Its turn goes on in the next batch.
                    caller.deficit -= self._quantum
                    return batch
                # What is larger than a batch may run when a whole one is saved up; the rest is a
                # debt. Alone, nobody else has to wait.
                if caller.deficit < min(share, 1.0) and not alone:
                    break
                caller.pop()
                caller.deficit -= share
                if alone:
                    caller.deficit = max(0.0, caller.deficit)
                filled += share
                batch.append(item)
            del self._callers[name]
            if caller.lines:
                self._callers[name] = caller
        return batch
