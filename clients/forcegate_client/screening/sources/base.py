"""What every source of structures can do."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from forcegate_client.screening.chunk import Chunk, Failure
from forcegate_client.structures import StructureBatch

__all__ = ["Source", "collect", "file_digest", "one_line"]

_LONGEST = 300


class Source(Protocol):
    """``size`` structures, numbered from 0; one that cannot be read still has its number."""

    @property
    def format(self) -> str:
        """For people, and for the manifest."""

    @property
    def has_labels(self) -> bool:
        """Whether structures have names."""

    @property
    def size(self) -> int:
        """How many there are, readable or not."""

    def read(self, start: int, stop: int) -> Chunk:
        """Structures ``start`` to ``stop``; what is wrong with one is a failure of that one."""


def collect(
    start: int,
    stop: int,
    found: Sequence[tuple[int, StructureBatch, str]],
    failures: list[Failure],
    *,
    labelled: bool,
) -> Chunk:
    """A chunk of single structures with index and label."""
    empty = np.zeros(0, dtype=np.int64)
    batches = [batch for _, batch, _ in found] or [
        StructureBatch.open_neutral(empty, empty, np.zeros((0, 3)))
    ]
    return Chunk(
        start,
        stop,
        np.array([index for index, _, _ in found], dtype=np.int64),
        StructureBatch.concatenate(batches),
        [label for _, _, label in found] if labelled else None,
        failures,
    )


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def one_line(error: BaseException) -> str:
    """What an error says, for a table."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
