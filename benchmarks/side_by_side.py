"""A step at several gateways that run already, by turns: two versions, with and without a proxy.

Each step is one of RemoteCalculator with positions that have not been seen before. Ratios are of
medians of the same turn, so that what else the machine does meets all of them.
"""

from __future__ import annotations

import random
import time
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from forcegate_bench.options import Model
from forcegate_bench.structures import Shaken
from forcegate_client import RemoteCalculator
from forcegate_client.cli.outspoken import run

MOLECULE = "aspirin (21 atoms)"
STEPS_A_TURN = 30
WARM_UP_STEPS = 300


class Subject:
    """One of the gateways, with milliseconds of all steps and the median of each turn."""

    def __init__(self, url: str, model: str) -> None:
        self.url = url
        self._shaken = Shaken(MOLECULE)
        self._atoms = self._shaken.atoms.copy()
        self._atoms.calc = RemoteCalculator(url, model=model)
        self.steps(WARM_UP_STEPS)
        self.all: list[float] = []
        self.medians: list[float] = []

    def steps(self, number: int) -> list[float]:
        """Milliseconds of so many."""
        times = []
        for _ in range(number):
            self._atoms.positions = self._shaken.next_atoms().positions
            started = time.perf_counter()
            self._atoms.get_forces()
            times.append(1e3 * (time.perf_counter() - started))
        return times

    def turn(self) -> None:
        """Measure once more."""
        times = self.steps(STEPS_A_TURN)
        self.all += times
        self.medians.append(float(np.median(times)))


def main(
    urls: Annotated[list[str], typer.Argument(help="The first is what the others are set beside.")],
    model: Model = "painn_base",
    seconds: Annotated[float, typer.Option(min=1.0, help="Time on the clock.")] = 30.0,
) -> None:
    """Print p50, p95 and the ratio of p50 to that of the first, with its quartiles."""
    subjects = [Subject(url, model) for url in urls]
    end = time.monotonic() + seconds
    while time.monotonic() < end or not subjects[0].medians:
        # In another order each time: whoever comes after an idle one finds the cores awake.
        for subject in random.sample(subjects, len(subjects)):
            subject.turn()
    table = Table("gateway", "p50, ms", "p95, ms", "p50 over that of the first", title=MOLECULE)
    for subject in subjects:
        ratios = np.array(subject.medians) / np.array(subjects[0].medians)
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        p50, p95 = np.quantile(subject.all, (0.5, 0.95))
        table.add_row(
            subject.url, f"{p50:.3f}", f"{p95:.3f}", f"{middle:.3f} ({low:.3f} to {high:.3f})"
        )
    Console().print(table, f"{len(subjects[0].medians)} turns of {STEPS_A_TURN} steps each.")


if __name__ == "__main__":
    run(main)
