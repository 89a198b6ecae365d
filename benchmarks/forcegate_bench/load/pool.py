"""Requests made before the clock runs, and whether their answers are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forcegate_bench.load.dialects import Dialect
from forcegate_bench.report.rows import Row, absent, at_most
from forcegate_bench.subjects.in_process import InProcess
from forcegate_bench.subjects.structures import Shaken
from forcegate_client.structures import StructureBatch

__all__ = ["Pool"]

# Bytes of requests that are kept: enough for seconds, so that none repeats soon.
_POOL_BYTES = 24e6
# Compiled and scripted weights differ by a few 1e-6; another structure's answer by 1e-2 and more.
_AGREE_EV = 1e-4


@dataclass(frozen=True)
class Pool:
    """Structures whose atoms stand elsewhere in each request, and the requests for them."""

    dialect: Dialect
    batches: Sequence[StructureBatch]
    requests: Sequence[bytes]

    @classmethod
    def make(cls, dialect: Dialect, molecule: str, copies: int = 1, most: int = 4096) -> Pool:
        """Up to ``most`` requests for so many ``copies`` each."""
        shaken = Shaken(molecule, copies)
        batches = [shaken.next_batch()]
        requests = [dialect.request(batches[0])]
        count = min(most, max(2, int(_POOL_BYTES / len(requests[0]))))
        for _ in range(count - 1):
            batches.append(shaken.next_batch())
            requests.append(dialect.request(batches[-1]))
        return cls(dialect, batches, requests)

    @property
    def copies(self) -> int:
        """Structures in each request."""
        return len(self.batches[0])

    def agreement(self, samples: Sequence[tuple[int, bytes]], model: InProcess, name: str) -> Row:
        """How far the sampled answers, each with its request's index, are from in process."""
        label = f"{name}: largest deviation of {len(samples)} sampled answers, eV and eV/Å"
        if not samples:
            return absent(label, f"≤ {_AGREE_EV:g}", "eV")
        return at_most(label, max(self._deviation(*one, model) for one in samples), _AGREE_EV, "eV")

    def _deviation(self, index: int, body: bytes, model: InProcess) -> float:
        expected = model.answer(self.batches[index])
        received = self.dialect.decode(body)
        pairs = list(zip(expected, received, strict=True))
        if any(one.shape != other.shape for one, other in pairs):
            return float("inf")
        return max(float(np.abs(one - other).max()) for one, other in pairs)
