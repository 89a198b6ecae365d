"""A step at several gateways that run already, by turns: two versions, with and without a proxy.

Each step is one of RemoteCalculator with positions that have not been seen before. Ratios are of
medians of the same turn, so that what else the machine does meets all of them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import numpy as np
from rich.table import Table

from forcegate_bench.serving.ase_steps import Stepping
from forcegate_bench.subjects.subject import MOLECULE
from forcegate_client import RemoteCalculator

__all__ = ["measure_side_by_side"]

_STEPS_A_TURN = 30
_WARM_UP_STEPS = 300


class _Gateway:
    """One of them, with milliseconds of all steps and the median of each turn."""

    def __init__(self, url: str, model: str) -> None:
        self.url = url
        self._stepping = Stepping(RemoteCalculator(url, model=model))
        self._steps(_WARM_UP_STEPS)
        self.all: list[float] = []
        self.medians: list[float] = []

    def turn(self) -> None:
        """Measure once more."""
        times = self._steps(_STEPS_A_TURN)
        self.all += times
        self.medians.append(float(np.median(times)))

    def _steps(self, number: int) -> list[float]:
        return [self._stepping.once() for _ in range(number)]


def measure_side_by_side(urls: Sequence[str], model: str, seconds: float) -> Table:
    """p50, p95 and the ratio of p50 to that of the first, with its quartiles."""
    gateways = [_Gateway(url, model) for url in urls]
    first = gateways[0]
    end = time.monotonic() + seconds
    while time.monotonic() < end or not first.medians:
        # In another order each time: whoever comes after an idle one finds the cores awake.
        for gateway in random.sample(gateways, len(gateways)):
            gateway.turn()
    table = Table("gateway", "p50, ms", "p95, ms", "p50 over that of the first", title=MOLECULE)
    for gateway in gateways:
        ratios = np.array(gateway.medians) / np.array(first.medians)
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        p50, p95 = np.quantile(gateway.all, (0.5, 0.95))
        spread = f"{middle:.3f} ({low:.3f} to {high:.3f})"
        table.add_row(gateway.url, f"{p50:.3f}", f"{p95:.3f}", spread)
    table.caption = f"{len(first.medians)} turns of {_STEPS_A_TURN} steps each."
    return table
