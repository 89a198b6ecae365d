"""Clocks: candidates take turns, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

__all__ = ["Candidate", "Local", "Timing", "ratio", "take_turns"]


class Candidate(Protocol):
    """Something whose calls can be timed, in this process or in another."""

    def sample(self, seconds: float) -> list[float]:
        """Call it for about so long; milliseconds of every call."""


@dataclass
class Local:
    """A call in this process; ``prepare`` makes its fresh input, off the clock."""

    prepare: Callable[[], Any]
    call: Callable[[Any], object]

    def sample(self, seconds: float) -> list[float]:
        """Milliseconds of every call."""
        times: list[float] = []
        end = time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            given = self.prepare()
            started = time.perf_counter()
            self.call(given)
            times.append(1e3 * (time.perf_counter() - started))
        return times


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call, turn by turn."""

    turns: tuple[tuple[float, ...], ...]

    def quantile(self, share: float) -> float:
        """The time that so large a share of all calls stays below."""
        return float(np.quantile(np.concatenate([np.array(turn) for turn in self.turns]), share))

    @property
    def median(self) -> float:
        """Milliseconds."""
        return self.quantile(0.5)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Half of all calls lie between these, in milliseconds."""
        return self.quantile(0.25), self.quantile(0.75)


def take_turns(
    candidates: Mapping[str, Candidate], seconds: float, turns: int = 5, warm_up: float = 0.1
) -> dict[str, Timing]:
    """Time all candidates A B C A B C …, within about ``seconds`` altogether.

    ``warm_up`` seconds of each candidate are not counted.
    """
    for candidate in candidates.values():
        candidate.sample(warm_up)
    share = seconds / (turns * len(candidates))
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in candidates}
    for _ in range(turns):
        for name, candidate in candidates.items():
            found[name].append(tuple(candidate.sample(share)))
    return {name: Timing(tuple(samples)) for name, samples in found.items()}


def ratio(numerator: Timing, denominator: Timing) -> float:
    """How much longer one takes than the other: the median over turns of the turns' ratios.

    Neighbouring turns share the machine's mood, which the ratio of two overall medians would not.
    """
    pairs = zip(numerator.turns, denominator.turns, strict=True)
    return statistics.median(statistics.median(a) / statistics.median(b) for a, b in pairs)
