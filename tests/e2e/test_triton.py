"""A real Triton server behind the gateway: the same numbers, and never others."""

from __future__ import annotations

import io
import json
import shutil
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import graphene, molecule
from ase.io import read
from ase.md.verlet import VelocityVerlet

from forcegate_client import RemoteCalculator
from forcegate_client.md.nve import draw_velocities
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import decode_response
from forcegate_service.contract.card import CARD_NAME, MODEL_NAME, ModelCard, content_digest
from forcegate_service.contract.graph import build_graph
from forcegate_service.runtimes.torchscript import TorchScriptRuntime
from forcegate_service.runtimes.triton.servers import TritonServers
from support.killable import HANG_S, KillableGateway, killable
from support.models import REPOSITORY, newest_version
from support.triton_process import RealTriton, real_triton

pytestmark = pytest.mark.system

MODEL = "painn_base"
VERSION = newest_version(MODEL).name
ASPIRIN = REPOSITORY.parent / "examples" / "aspirin.xyz"
# eV/Å, and of the larger forces so much of one. The same module on the same processor; only the
# batches differ.
AGREEMENT = 1e-6
# eV/Å. The engine beside TorchScript, whose sums of charges are float32.
TRAJECTORY_AGREEMENT = 3e-5
CALLERS = 8


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Triton's copy of one model, which the gateway does not look at."""
    folder = tmp_path_factory.mktemp("triton")
    shutil.copytree(REPOSITORY / MODEL, folder / "models" / MODEL)
    return folder / "models"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gateway's copy of the same."""
    folder = tmp_path_factory.mktemp("gateway")
    shutil.copytree(REPOSITORY / MODEL, folder / "models" / MODEL)
    return folder / "models"


@pytest.fixture(scope="module")
def lasting(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealTriton]:
    with real_triton(repository, tmp_path_factory.mktemp("log")) as server:
        yield server


@pytest.fixture
def triton(lasting: RealTriton) -> RealTriton:
    """Alive, whatever the test before has done to it."""
    if lasting.process.poll() is not None:
        lasting.start()
    return lasting


@pytest.fixture
def gateway(triton: RealTriton, models: Path, tmp_path: Path) -> Iterator[KillableGateway]:
    settings = {"FORCEGATE_RUNTIME": "triton", "FORCEGATE_TRITON_URL": triton.address}
    with killable(models, tmp_path, **settings) as running:
        yield running


def varied_structures() -> list[Atoms]:
    """500 of them: molecules, isolated atoms, sheets, crystals and triclinic cells."""
    rng = np.random.default_rng(5)
    names = ["H2O", "C6H6", "CH3CH2OH", "NH3", "CH4", "HCN", "H2CO", "C2H6", "CH3SH", "CH3Cl"]
    structures: list[Atoms] = []
    for k in range(100):
        structures.append(molecule(names[k % len(names)]))
        structures.append(Atoms(["H", "C", "N", "O", "F", "S", "Cl"][k % 7]))
        structures.append(graphene(a=2.44 + 0.001 * k, size=(2, 2 + k % 2, 1)))
        crystal = molecule("CH4")
        crystal.cell, crystal.pbc = (3.9 + 0.01 * k) * np.eye(3), True
        structures.append(crystal)
        ice = molecule("H2O")
        ice.cell = np.diag([3.2, 3.4, 3.6]) + 0.8 * rng.uniform(-1, 1, (3, 3))
        ice.pbc = True
        structures.append(ice)
    for atoms in structures:
        atoms.positions += rng.normal(0.0, 0.03, atoms.positions.shape)
    return structures


def test_triton_and_the_embedded_runtime_agree(triton: RealTriton, models: Path) -> None:
    folder = models / MODEL / VERSION
    structures = varied_structures()
    isolated = StructureBatch.from_atoms([atoms for atoms in structures if len(atoms) == 1])
    everything = StructureBatch.from_atoms(structures)
    embedded = TorchScriptRuntime(folder)
    servers = TritonServers(triton.address, 60.0)
    try:
        deadline = time.monotonic() + HANG_S
        while not servers.available():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        remote = servers.open(folder)
        for batch in (everything, isolated, isolated.select([0])):
            graph = build_graph(batch, *remote.card.reach)
            ours, theirs = embedded.evaluate(graph), remote.evaluate(graph)
            for name, relative, tolerance in (
                ("energy", 0.0, 1e-5),
                ("forces", AGREEMENT, AGREEMENT),
                ("virial", 0.0, 1e-5),
            ):
                one, other = getattr(ours, name), getattr(theirs, name)
                assert one.shape == other.shape
                np.testing.assert_allclose(other, one, rtol=relative, atol=tolerance, err_msg=name)
            np.testing.assert_allclose(theirs.atom_novelty, ours.atom_novelty, rtol=1e-4)
        assert graph.n_edges == 0
        assert not theirs.forces.any()
    finally:
        servers.close()


class Caller(threading.Thread):
    """Asks for one structure again and again, without retries, and keeps every answer."""

    def __init__(self, gateway: KillableGateway, atoms: Atoms) -> None:
        super().__init__()
        self._gateway, self._atoms = gateway, atoms
        self.stopping = threading.Event()
        self.forces: list[np.ndarray] = []
        self.refused: list[tuple[int, str, str | None]] = []

    def run(self) -> None:
        while not self.stopping.is_set():
            with closing(self._gateway.send([self._atoms], MODEL)) as connection:
                response = connection.getresponse()
                body = response.read()
                if response.status == 200:
                    predictions = decode_response(body).predictions
                    assert predictions.forces is not None
                    self.forces.append(predictions.forces)
                else:
                    code = json.loads(body)["code"]
                    self.refused.append((response.status, code, response.getheader("Retry-After")))


def expected_forces(models: Path, atoms: Atoms) -> np.ndarray:
    runtime = TorchScriptRuntime(models / MODEL / VERSION)
    graph = build_graph(StructureBatch.from_atoms([atoms]), *runtime.card.reach)
    return runtime.evaluate(graph).forces


def ready(gateway: KillableGateway) -> bool:
    with closing(gateway._connection()) as connection:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        response.read()
        return response.status == 200


def until(condition: object, what: str) -> float:
    """How long it took until ``condition()``."""
    started = time.monotonic()
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < started + HANG_S, what
        time.sleep(0.05)
    return time.monotonic() - started


def asking(gateway: KillableGateway) -> list[Caller]:
    callers = []
    for seed in range(CALLERS):
        atoms: Atoms = read(ASPIRIN)
        atoms.rattle(0.05, seed=seed)
        callers.append(Caller(gateway, atoms))
    for caller in callers:
        caller.start()
    return callers


def end(callers: list[Caller]) -> None:
    for caller in callers:
        caller.stopping.set()
    for caller in callers:
        caller.join(HANG_S)
        assert not caller.is_alive()


def test_a_server_killed_under_load_costs_refusals_and_not_one_wrong_answer(
    gateway: KillableGateway, triton: RealTriton, models: Path
) -> None:
    callers = asking(gateway)
    try:
        until(lambda: all(caller.forces for caller in callers), "no answers")
        assert ready(gateway)
        triton.kill()
        until(lambda: all(caller.refused for caller in callers), "nobody was refused")
        assert not ready(gateway)
        before = [len(caller.forces) for caller in callers]
        triton.start()
        took = until(lambda: ready(gateway), "the gateway did not find the server again")
        print(f"\nready {took:.1f} s after the server was")
        until(
            lambda: all(
                len(caller.forces) > count for caller, count in zip(callers, before, strict=True)
            ),
            "no answers after the return",
        )
    finally:
        end(callers)
    for caller in callers:
        right = expected_forces(models, caller._atoms)
        for forces in caller.forces:
            np.testing.assert_allclose(forces, right, rtol=AGREEMENT, atol=AGREEMENT)
        for status, code, wait in caller.refused:
            assert (status, code) == (503, "runtime_unavailable")
            assert wait is not None
            assert int(wait) >= 1


def swap_weights(repository: Path) -> None:
    """Other weights, with a card that vouches for them, as Triton has no other check."""
    folder = repository / MODEL / VERSION
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit", DeprecationWarning)
        module = torch.jit.load(str(folder / MODEL_NAME))
        with torch.no_grad():
            module.state_dict()["network.embedding.weight"].mul_(1.1)
        buffer = io.BytesIO()
        torch.jit.save(module, buffer)
    (folder / MODEL_NAME).write_bytes(buffer.getvalue())
    card = ModelCard.model_validate_json((folder / CARD_NAME).read_text(encoding="utf-8"))
    files = card.files | {MODEL_NAME: content_digest(buffer.getvalue())}
    card.model_copy(update={"files": files}).save(folder)


def test_weights_swapped_behind_the_gateways_back_are_never_asked(
    gateway: KillableGateway, triton: RealTriton, repository: Path, models: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(repository / MODEL / VERSION, kept)
    callers = asking(gateway)
    try:
        until(lambda: all(caller.forces for caller in callers), "no answers")
        triton.kill()
        swap_weights(repository)
        triton.start()
        until(lambda: "reference energy off by" in gateway.log.read_text(), "it was not noticed")
        assert not ready(gateway)
        triton.kill()
        shutil.copytree(kept, repository / MODEL / VERSION, dirs_exist_ok=True)
        before = [len(caller.forces) for caller in callers]
        triton.start()
        until(
            lambda: all(
                len(caller.forces) > count for caller, count in zip(callers, before, strict=True)
            ),
            "no answers after the right weights came back",
        )
    finally:
        end(callers)
    for caller in callers:
        assert caller.refused
        right = expected_forces(models, caller._atoms)
        for forces in caller.forces:
            np.testing.assert_allclose(forces, right, rtol=AGREEMENT, atol=AGREEMENT)


def trajectory(url: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Forces at each step of 0.5 fs, and the last positions, of aspirin at 300 K."""
    atoms: Atoms = read(ASPIRIN)
    atoms.calc = RemoteCalculator(url, model=MODEL)
    draw_velocities(atoms, temperature_K=300, rng=np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, timestep=0.5 * units.fs)
    forces = []
    dynamics.attach(lambda: forces.append(atoms.get_forces()))
    dynamics.run(steps)
    atoms.calc.close()
    return np.array(forces), atoms.positions.copy()


def test_dynamics_through_triton_is_the_same_as_embedded(
    gateway: KillableGateway, models: Path, tmp_path: Path
) -> None:
    through_triton, last = trajectory(gateway.url, 200)
    (tmp_path / "embedded").mkdir()
    with killable(models, tmp_path / "embedded") as embedded:
        # Not the same code by chance.
        assert embedded.metric("forcegate_model_on_engine", model=MODEL) == 1
        beside, end_of_it = trajectory(embedded.url, 200)
    assert len(through_triton) == 201
    difference = np.abs(through_triton - beside).max()
    print(f"\nlargest difference of forces along 200 steps: {difference:.2g} eV/Å")
    assert difference <= TRAJECTORY_AGREEMENT
    np.testing.assert_allclose(last, end_of_it, rtol=0, atol=1e-5)
