"""The inference process may die, and be killed; whoever asks gets an answer all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from forcegate_client.errors import InvalidStructure, RuntimeUnavailable
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import MODEL_NAME, ModelCard
from forcegate_service.contract.errors import ModelRefused, RuntimeFault
from forcegate_service.contract.graph import Graph, build_graph
from forcegate_service.queue.isolate import evaluate_isolated
from forcegate_service.runtimes.fake import FakeRuntime, write_fake_model
from forcegate_service.runtimes.process.host import HostedRuntime, InferenceHost
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client
from support.stub_inference import CHLORINE, COMMAND, FLUORINE

CARBON = 6


class Heard:
    """Remembers what a host tells."""

    def __init__(self) -> None:
        self.restarts = 0

    def inference_restarted(self) -> None:
        self.restarts += 1

    def on_engine(self, card: ModelCard, engine: bool) -> None:
        raise AssertionError("the host's owner tells that")


@pytest.fixture(scope="module")
def gate_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture
def gate(gate_file: Path) -> Iterator[Path]:
    """Chlorine waits for this file."""
    yield gate_file
    gate_file.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def shared(gate_file: Path) -> Iterator[tuple[InferenceHost, Heard]]:
    """One for all tests, since a process takes a second to start: it must survive them anyway."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUB_GATE", str(gate_file))
        heard = Heard()
        host = InferenceHost(1, "cpu", heard, COMMAND)
        yield host, heard
        host.close()


@pytest.fixture
def host(shared: tuple[InferenceHost, Heard]) -> InferenceHost:
    return shared[0]


@pytest.fixture
def heard(shared: tuple[InferenceHost, Heard]) -> Heard:
    shared[1].restarts = 0
    return shared[1]


@pytest.fixture
def version(tmp_path: Path) -> Path:
    write_fake_model(tmp_path / "models", name="toy")
    return tmp_path / "models" / "toy" / "1"


@pytest.fixture
def runtime(host: InferenceHost, version: Path) -> Iterator[HostedRuntime]:
    runtime = host.open(version)
    yield runtime
    runtime.close()


def graph_of(*elements: int, size: int = 4) -> Graph:
    """One structure of ``size`` atoms for each of ``elements``."""
    rng = np.random.default_rng(sum(elements))
    batch = StructureBatch.from_arrays(
        n_atoms=[size] * len(elements),
        atomic_numbers=np.repeat(elements, size),
        positions=rng.uniform(0, 2.0 * size ** (1 / 3), (size * len(elements), 3)),
    )
    return build_graph(batch, 5.0)


def assert_right(runtime: HostedRuntime, graph: Graph) -> None:
    for one, other in zip(
        runtime.evaluate(graph), FakeRuntime(runtime.card).evaluate(graph), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Only a hang takes long enough to fail here."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(f"never: {what}")


def running(pid: int) -> bool:
    """Whether there is such a process, zombies aside."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_graphs_of_all_sizes_pass_through_the_same_memory(runtime: HostedRuntime) -> None:
    lone = build_graph(StructureBatch.from_arrays([1], [8], np.zeros((1, 3))), 5.0)
    large = graph_of(CARBON, size=3000)
    # Memory grows for the large one, and is given back by what follows.
    for graph in (lone, graph_of(1, 6, 7), large, lone, graph_of(8), large, graph_of(1)):
        assert_right(runtime, graph)


def test_answers_stay_when_the_next_graph_is_evaluated(runtime: HostedRuntime) -> None:
    first = runtime.evaluate(graph_of(CARBON))
    kept = first.forces.copy()
    runtime.evaluate(graph_of(8))
    np.testing.assert_array_equal(first.forces, kept)


def test_strides_and_narrow_types_end_at_the_shared_memory(runtime: HostedRuntime) -> None:
    graph = graph_of(1, 6, 7)
    names = ["positions", "atomic_numbers", "edge_index", "edge_shift"]

    def scattered(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.repeat(array, 2, axis=-1)[..., ::2]

    strided = replace(graph, **{name: scattered(getattr(graph, name)) for name in names})
    narrow = replace(graph, atomic_numbers=graph.atomic_numbers.astype(np.int32))
    expected = runtime.evaluate(graph)
    for other in (strided, narrow):
        for one, two in zip(expected, runtime.evaluate(other), strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_version_that_changes_on_the_disk_is_not_opened(
    host: InferenceHost, version: Path
) -> None:
    (version / MODEL_NAME).write_bytes(b"other weights")
    with pytest.raises(ModelRefused):
        host.open(version)


def test_a_structure_that_ends_the_process_fails_alone(
    runtime: HostedRuntime, heard: Heard
) -> None:
    graph = graph_of(CARBON, FLUORINE)
    output, faults = evaluate_isolated(runtime, graph)
    assert list(faults) == [1]
    assert isinstance(faults[1], InvalidStructure)
    assert faults[1].code == "prediction_failed"
    expected = FakeRuntime(runtime.card).evaluate(graph)
    np.testing.assert_array_equal(output.forces[:4], expected.forces[:4])
    assert np.isnan(output.forces[4:]).all()
    assert heard.restarts >= 1
    assert_right(runtime, graph_of(CARBON))


def test_a_structure_on_its_way_survives_a_kill(
    host: InferenceHost, runtime: HostedRuntime, gate: Path, heard: Heard
) -> None:
    runtime.evaluate(graph_of(CARBON))
    victim = host.pid
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(assert_right, runtime, graph_of(CHLORINE))
        os.kill(victim, signal.SIGKILL)
        gate.touch()
        waiting.result()
    assert heard.restarts == 1
    assert host.pid != victim
    assert not running(victim)


def test_a_process_that_died_idle_is_nobodys_fault(
    host: InferenceHost, runtime: HostedRuntime, heard: Heard
) -> None:
    runtime.evaluate(graph_of(CARBON))
    victim = host.pid
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not running(victim), "the process ends")
    # Even a batch of several is not divided for that.
    assert_right(runtime, graph_of(CARBON, 8))
    assert heard.restarts == 1


def test_signals_for_the_whole_group_do_not_cut_off_what_the_gateway_finishes(
    host: InferenceHost, runtime: HostedRuntime, heard: Heard
) -> None:
    runtime.evaluate(graph_of(CARBON))
    assert os.getsid(host.pid) != os.getsid(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(host.pid, number)
    assert_right(runtime, graph_of(CARBON))
    assert heard.restarts == 0


def test_the_process_ends_with_its_gateway_however_that_ends(version: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path;"
        "from forcegate_service.runtimes.process.host import InferenceHost;"
        f"host = InferenceHost(1, 'cpu', command={COMMAND!r});"
        f"host.open(Path({str(version)!r}));"
        "print(host.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout is not None
        pid = int(gateway.stdout.readline())
        assert running(pid)
        gateway.kill()
    wait_until(lambda: not running(pid), "the process ends")


def test_a_process_that_cannot_start_is_a_fault_and_no_hang(version: Path) -> None:
    host = InferenceHost(1, "cpu", command=(sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(RuntimeFault, match="code 3"):
        host.open(version)
    host.close()


@pytest.fixture
def hasty(version: Path) -> Iterator[tuple[InferenceHost, HostedRuntime]]:
    """A host that waits two seconds for an answer, and a version that it has opened."""
    host = InferenceHost(1, "cpu", None, COMMAND, timeout_s=2.0)
    try:
        yield host, host.open(version)
    finally:
        host.close()


def test_a_process_that_hangs_is_ended_and_started_again(
    hasty: tuple[InferenceHost, HostedRuntime],
) -> None:
    host, runtime = hasty
    assert_right(runtime, graph_of(CARBON))
    victim = host.pid
    os.kill(victim, signal.SIGSTOP)
    # No structure is to blame, so a batch of several is not halved either.
    with pytest.raises(RuntimeUnavailable, match="hangs") as caught:
        evaluate_isolated(runtime, graph_of(CARBON, 8))
    assert caught.value.retry_after_s
    wait_until(lambda: host.available, "another process holds the models")
    assert not running(victim)
    assert_right(runtime, graph_of(CARBON))


def test_a_process_that_says_nothing_at_all_is_a_fault_and_no_hang(version: Path) -> None:
    silent = (sys.executable, "-c", "import time; time.sleep(600)")
    host = InferenceHost(1, "cpu", None, silent, start_s=0.1)
    try:
        with pytest.raises(RuntimeFault, match=r"said nothing for 0\.1 s"):
            host.open(version)
        assert not host.available
    finally:
        host.close()


@pytest.mark.anyio
async def test_the_gateway_answers_while_inference_runs(
    host: InferenceHost, version: Path, gate: Path
) -> None:
    settings = Settings(model_repository=version.parents[1])
    salt = {"atomic_numbers": [CHLORINE, 1], "positions": [[0.0, 0.0, 0.0], [1.3, 0.0, 0.0]]}
    done: list[str] = []
    async with gateway_client(settings, host.open) as client, anyio.create_task_group() as group:

        async def predict() -> None:
            body = {"model": "toy", "structures": [salt]}
            response = await client.post("/v1/predict", json=body)
            assert response.status_code == 200, response.text
            done.append("prediction")

        group.start_soon(predict)
        for _ in range(5):
            assert (await client.get("/health/live")).status_code == 200
            await anyio.sleep(0.05)
        done.append("health")
        gate.touch()
    assert done == ["health", "prediction"]
