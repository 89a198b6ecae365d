"""How long work tells whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Tell", "tell_nobody"]

# Called with what is being done, how much of it is done, and how much there is.
Tell = Callable[[str, int, int], None]


def tell_nobody(title: str, done: int, total: int) -> None:
    """Nobody waits."""
