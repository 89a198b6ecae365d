"""A file among others that nobody can read: it keeps one place in the row."""

from __future__ import annotations

from forcegate_client.reading.errors import InputUnreadable
from forcegate_client.reading.record import Origin, Problem, Record
from forcegate_client.reading.source import Source

__all__ = ["UnreadableFile"]


class UnreadableFile(Source):
    """One record, whose problem is that of the whole file."""

    format = "unreadable"
    size = 1

    def __init__(self, name: str, error: InputUnreadable) -> None:
        self.name = name
        self.error = error

    def read(self, start: int, stop: int) -> list[Record]:
        """That record."""
        problem = Problem(self.error.code, str(self.error))
        return [Record(Origin(self.name, 0), problem=problem)][start:stop]
