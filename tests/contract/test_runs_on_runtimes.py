"""Runs are the same physics whatever evaluates: in the engine by chunks, elsewhere step by step."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import molecule
from prometheus_client import CollectorRegistry

from forcegate_client.runs import RunRequest
from forcegate_client.structures import StructureBatch
from forcegate_engine import integrate
from forcegate_service.contract.graph import Graph, build_graph
from forcegate_service.contract.motion import ENSEMBLE, Chunk, Moved
from forcegate_service.contract.runtime import LoadedRuntime, ModelOutput
from forcegate_service.dynamics.integrators import normals
from forcegate_service.queue.cost import CostModel
from forcegate_service.queue.dispatcher import Dispatcher
from forcegate_service.queue.fair_queue import Tenant
from forcegate_service.queue.microbatch import BatchLimit, Microbatch
from forcegate_service.queue.version import ServedVersion
from forcegate_service.runtimes.engine import EngineRuntime
from forcegate_service.runtimes.fake import FakeRuntime, load_fake, write_fake_model
from forcegate_service.runtimes.torchscript import TorchScriptRuntime
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client
from forcegate_service.watch.metrics.metrics import Metrics
from support.engine import CHARGED, engine
from support.models import REPOSITORY
from support.streams import Run, read

pytestmark = pytest.mark.anyio

MODEL = "painn_ultra_tiny"
NAMES = ("CH3CH2OH", "C6H6", "CH3SH")
WATER = StructureBatch.from_atoms([molecule("H2O")])
PIECE = Microbatch(build_graph(WATER, 5.0), 0.1, 0.001)


def structures() -> StructureBatch:
    rng = np.random.default_rng(4)
    found = [molecule(name) for name in NAMES]
    for atoms in found:
        atoms.rattle(0.03, rng=rng)
    return StructureBatch.from_atoms(found)


async def moved(
    repository: Path, load: Callable[[Path], LoadedRuntime], request: RunRequest
) -> Run:
    settings = Settings(model_repository=repository, runtime="in-process", torch_threads=1)
    async with gateway_client(settings, load_runtime=load) as client:
        return await read(client, request)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(REPOSITORY / MODEL, folder / MODEL)
    return folder


@pytest.mark.system
@pytest.mark.parametrize("method", ["nve", "langevin"])
async def test_two_hundred_steps_by_torchscript_are_those_of_the_engine(
    repository: Path, method: Any
) -> None:
    request = RunRequest(
        *("dynamics", structures(), MODEL, method, 200),
        frame_interval=50,
        properties=("forces",),
        timestep_fs=0.25,
        **({} if method == "nve" else {"temperature_k": 300.0, "friction_per_fs": 0.01}),
    )
    one = await moved(repository, EngineRuntime, request)
    other = await moved(repository, TorchScriptRuntime, request)
    assert len(one.frames) == len(other.frames) == 15
    for b in range(3):
        for mine, theirs in zip(one.of(b), other.of(b), strict=True):
            assert mine.step == theirs.step
            assert mine.forces is not None
            np.testing.assert_allclose(mine.forces, theirs.forces, atol=1e-5)


def test_the_noise_is_that_of_the_engine() -> None:
    seed, step, stream = 2**45 + 3, 2**33 + 7, 12
    found = integrate(
        *(engine(CHARGED), WATER.atomic_numbers, WATER.positions, np.zeros((3, 3)), np.ones(3)),
        # So much friction leaves nothing but noise; so short a step no force.
        **{"steps": 1, "timestep_fs": 1e-4, "friction_per_fs": 1e3, "temperature_k": 1e6},
        seed=seed,
        start_step=step,
        streams=[stream],
    )
    keep = np.exp(-0.1)
    width = np.sqrt(1.0 - keep**2) * np.sqrt(8.617333262145e-5 * 1e6 * 9.648533212331e-3)
    np.testing.assert_allclose(
        found.velocities / width, normals(seed, step, stream, 3), atol=1e-4, rtol=1e-6
    )


class _Moving(FakeRuntime):
    """Writes down what it is asked; the first waits for the gate."""

    moves = True

    def __init__(self, folder: Path) -> None:
        super().__init__(load_fake(folder).card)
        self.order: list[str] = []
        self.gate = threading.Event()

    def evaluate(self, graph: Graph) -> ModelOutput:
        self.order.append("request")
        assert self.gate.wait(60)
        return super().evaluate(graph)

    def advance(self, chunk: Chunk) -> Moved:
        self.order.append(f"{len(chunk.n_atoms)} runs")
        return Moved.nowhere(chunk, charges=False)


def chunk() -> Chunk:
    n = WATER.total_atoms
    return Chunk(
        *("dynamics", np.zeros(1, dtype=ENSEMBLE), WATER.n_atoms, WATER.cells, WATER.pbc),
        *(WATER.atomic_numbers, WATER.positions, np.zeros((n, 3)), np.zeros((n, 3))),
        *(np.ones(n), np.zeros(n, dtype=np.bool_)),
    )


async def test_a_request_waits_for_one_batch_of_runs_and_runs_for_one_of_requests(
    tmp_path: Path,
) -> None:
    card = write_fake_model(tmp_path)
    runtime = _Moving(tmp_path / card.name / card.version)
    limit = BatchLimit(CostModel(0.0, 1e-5, 1e-6), 0.05, 10**6)
    version = ServedVersion(runtime, limit, card, np.zeros(119))
    dispatcher = Dispatcher(Metrics(CollectorRegistry()))
    runs, asking = Tenant("runs", "1"), Tenant("asking", "1")
    first = dispatcher.submit(version, PIECE, asking)
    while not runtime.order:
        await asyncio.sleep(0.001)
    # Four batches of runs wait, and then somebody asks.
    waiting: list[asyncio.Future[Any]] = [
        dispatcher.advance(version, chunk(), 0.125, 0.006, runs) for _ in range(32)
    ]
    waiting += [dispatcher.submit(version, PIECE, asking) for _ in range(3)]
    runtime.gate.set()
    await asyncio.gather(first, *waiting)
    await dispatcher.close()
    # Who asks is in the next batch; the rest of it, and what follows, is the runs'.
    assert runtime.order[:2] == ["request", "request"]
    assert sum(int(told.split()[0]) for told in runtime.order if "runs" in told) == 32
    assert len(runtime.order) <= 2 + 6
