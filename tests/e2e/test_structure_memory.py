"""What the evaluation of a large structure takes of the memory, in the process that evaluates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import build_graph
from forcegate_service.contract.reference import reference_graph
from forcegate_service.contract.size import size_of
from forcegate_service.runtimes.process.host import InferenceHost
from support.models import REPOSITORY


class Memory(NamedTuple):
    """Resident bytes of a process: now, and the most so far."""

    now: int
    peak: int

    @classmethod
    def of(cls, pid: int) -> Memory:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        kib = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
        return cls(int(kib["VmRSS"]) * 1024, int(kib["VmHWM"]) * 1024)


class Seen(NamedTuple):
    """Bytes of an evaluation: as predicted, as taken at its peak, and as kept afterwards."""

    predicted: float
    taken: int
    kept: int


def evaluation(name: str, atoms: int) -> Seen:
    """Of a dense structure, by a published student as it is served."""
    (folder,) = (REPOSITORY / name).glob("[0-9]*")
    side = math.ceil(atoms ** (1 / 3))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    large = StructureBatch.from_arrays(
        n_atoms=[atoms], atomic_numbers=[6] * atoms, positions=2.2 * grid[:atoms]
    )
    host = InferenceHost(1, "cpu")
    try:
        runtime = host.open(folder)
        graph = build_graph(large, *runtime.card.reach)
        runtime.evaluate(reference_graph(runtime.card))
        before = Memory.of(host.pid).now
        runtime.evaluate(graph)
        after = Memory.of(host.pid)
        predicted = runtime.memory.of(size_of(graph))
    finally:
        host.close()
    return Seen(predicted, after.peak - before, after.now - before)


@pytest.mark.parametrize(("name", "atoms"), [("painn_base", 1500), ("painn_ultra_tiny", 3000)])
def test_an_evaluation_takes_the_memory_that_is_predicted(name: str, atoms: int) -> None:
    seen = evaluation(name, atoms)
    assert 0.5 * seen.predicted < seen.taken < 1.2 * seen.predicted


@pytest.mark.parametrize(("name", "atoms"), [("painn_base", 4500), ("painn_ultra_tiny", 6000)])
def test_the_memory_of_a_structure_larger_than_any_batch_is_given_back(
    name: str, atoms: int
) -> None:
    seen = evaluation(name, atoms)
    assert seen.kept < 0.3 * seen.taken
