"""The runtime that a gateway uses, in this process: what serving is measured against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from forcegate_bench.models import Model
from forcegate_bench.rows import Row, plain
from forcegate_bench.structures import Shaken
from forcegate_bench.timing import Candidate, Local, Timing, take_turns
from forcegate_client.structures import StructureBatch
from forcegate_service.embedded import EmbeddedRuntime
from forcegate_service.fake import load_fake
from forcegate_service.graph import Graph, build_graph

__all__ = ["A_FEW", "InProcess", "Rates", "measure_rates"]

Float = npt.NDArray[np.float64]

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Enough to see whether the machine was left alone.
A_FEW = (1, 32)


@dataclass(frozen=True)
class InProcess:
    """``evaluate`` gives energies [B] in eV and forces [N, 3] in eV/Å; ``cutoff`` in Å."""

    cutoff: float
    evaluate: Callable[[Graph], tuple[Float, Float]]

    @classmethod
    def compiled(cls, folder: Path) -> InProcess:
        """As a gateway serves it once it is compiled."""
        model = Model.stored(folder)

        def evaluate(graph: Graph) -> tuple[Float, Float]:
            energy, forces, *_ = model.module(*map(torch.from_numpy, graph.arrays()))
            return energy.numpy(), forces.numpy()

        return cls(model.cutoff, evaluate)

    @classmethod
    def uncompiled(cls, folder: Path, fake: bool) -> InProcess:
        """TorchScript, or the toy."""
        runtime = load_fake(folder) if fake else EmbeddedRuntime(folder)

        def evaluate(graph: Graph) -> tuple[Float, Float]:
            output = runtime.evaluate(graph)
            return output.energy, output.forces

        return cls(runtime.card.cutoff, evaluate)

    def answer(self, batch: StructureBatch) -> tuple[Float, Float]:
        """Energies and forces of ``batch``, neighbour list and all."""
        return self.evaluate(build_graph(batch, self.cutoff))


@dataclass(frozen=True)
class Rates:
    """Structures a second at the best batch size, with and without neighbour lists."""

    with_lists: float
    size: int
    without_lists: float
    by_size: dict[int, float]

    def rows(self, label: str) -> list[Row]:
        """All of them."""
        found = [
            plain(f"{label}, batch {size}", rate, "structures/s")
            for size, rate in self.by_size.items()
        ]
        without = plain(f"{label}, best, no neighbour lists", self.without_lists, "structures/s")
        return [*found, without]


def measure_rates(
    model: InProcess, molecule: str, seconds: float, sizes: Sequence[int] = _SIZES
) -> Rates:
    """Batches of every size in turns, for about so long, and a tenth of that to warm up."""
    shaken = {size: Shaken(molecule, copies=size) for size in sizes}
    candidates: dict[str, Candidate] = {}
    for size, supply in shaken.items():
        candidates[f"with {size}"] = Local(supply.next_batch, model.answer)
        candidates[f"without {size}"] = _without_lists(model, supply)
    warm_up_s = 0.1 * seconds / len(candidates)
    times = take_turns(candidates, seconds, turns=3, warm_up=warm_up_s)
    by_size = {size: _rate(times[f"with {size}"], size) for size in sizes}
    best = max(by_size, key=lambda size: by_size[size])
    without = max(_rate(times[f"without {size}"], size) for size in sizes)
    return Rates(by_size[best], best, without, by_size)


def _without_lists(model: InProcess, supply: Shaken) -> Local:
    return Local(lambda: build_graph(supply.next_batch(), model.cutoff), model.evaluate)


def _rate(timing: Timing, size: int) -> float:
    """Of all calls together, as throughput is: a slow one counts with all its time."""
    times = np.concatenate([np.array(turn) for turn in timing.turns])
    return 1e3 * size * len(times) / float(times.sum())
