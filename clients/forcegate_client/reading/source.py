"""What every source of structures can do."""

from __future__ import annotations

from abc import ABC, abstractmethod

from forcegate_client.reading.chunk import Chunk, chunk_of
from forcegate_client.reading.record import Record

__all__ = ["Source"]


class Source(ABC):
    """``size`` structures of one file, numbered from 0; a bad one still has its number.

    ``name`` is the file as it was named, ``format`` says in words how it is read.
    """

    name: str
    format: str
    size: int

    @abstractmethod
    def read(self, start: int, stop: int) -> list[Record]:
        """Records ``start`` to ``stop``."""

    def chunk(self, start: int, stop: int) -> Chunk:
        """The same as arrays."""
        return chunk_of(start, self.read(start, stop))

    def close(self) -> None:
        """Let go of the file; it is opened again when it is needed."""
        return
