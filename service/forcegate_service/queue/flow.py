"""Who work is for, as far as fairness is concerned."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Flow"]


class Flow(NamedTuple):
    """A caller (a key, or whoever has none) and one of its connections; ``key`` is the key's id."""

    caller: str
    connection: str
    key: str = "anonymous"
