"""The runtime that a gateway uses, in this process: what serving is measured against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forcegate_bench.report.rows import Row, plain
from forcegate_bench.report.timing import Candidate, Local, Timing, take_turns
from forcegate_bench.subjects.models import Model
from forcegate_bench.subjects.structures import Shaken
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import build_graph
from forcegate_service.runtimes.fake import load_fake
from forcegate_service.runtimes.torchscript import TorchScriptRuntime

__all__ = ["A_FEW", "InProcess", "Rates", "measure_rates"]

Float = npt.NDArray[np.float64]

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Enough to see whether the machine was left alone.
A_FEW = (1, 32)


@dataclass(frozen=True)
class InProcess:
    """``answer`` gives energies [B] in eV and forces [N, 3] in eV/Å, neighbour lists and all;
    ``cutoff`` in Å.
    """

    cutoff: float
    answer: Callable[[StructureBatch], tuple[Float, Float]]

    @classmethod
    def on_engine(cls, folder: Path) -> InProcess:
        """As a gateway serves it."""
        model = Model.stored(folder)
        return cls(model.cutoff, model.answer)

    @classmethod
    def of_graphs(cls, folder: Path, fake: bool) -> InProcess:
        """TorchScript, or the toy."""
        runtime = load_fake(folder) if fake else TorchScriptRuntime(folder)

        def answer(batch: StructureBatch) -> tuple[Float, Float]:
            output = runtime.evaluate(build_graph(batch, *runtime.card.reach))
            return output.energy, output.forces

        return cls(runtime.card.cutoff, answer)


@dataclass(frozen=True)
class Rates:
    """Structures a second at the best batch size."""

    best: float
    size: int
    by_size: dict[int, float]

    def rows(self, label: str) -> list[Row]:
        """All of them."""
        return [
            plain(f"{label}, batch {size}", rate, "structures/s")
            for size, rate in self.by_size.items()
        ]


def measure_rates(
    model: InProcess, molecule: str, seconds: float, sizes: Sequence[int] = _SIZES
) -> Rates:
    """Batches of every size in turns, for about so long, and a tenth of that to warm up."""
    candidates: dict[str, Candidate] = {
        str(size): Local(Shaken(molecule, copies=size).next_batch, model.answer) for size in sizes
    }
    warm_up_s = 0.1 * seconds / len(candidates)
    times = take_turns(candidates, seconds, turns=3, warm_up=warm_up_s)
    by_size = {size: _rate(times[str(size)], size) for size in sizes}
    best = max(by_size, key=lambda size: by_size[size])
    return Rates(by_size[best], best, by_size)


def _rate(timing: Timing, size: int) -> float:
    """Of all calls together, as throughput is: a slow one counts with all its time."""
    times = np.concatenate([np.array(turn) for turn in timing.turns])
    return 1e3 * size * len(times) / float(times.sum())
