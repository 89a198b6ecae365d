"""The inference process may die, and be killed; whoever asks gets an answer all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from forcegate_client.errors import InvalidStructure
from forcegate_client.structures import StructureBatch
from forcegate_service.card import MODEL_NAME, ModelCard, file_digest
from forcegate_service.compilation.cache import Package
from forcegate_service.errors import CompilationFailed, ModelRefused, RuntimeFault
from forcegate_service.fake import FakeRuntime, write_fake_model
from forcegate_service.graph import Graph, build_graph
from forcegate_service.inference.host import HostedRuntime, InferenceHost
from forcegate_service.isolation import evaluate_isolated
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client
from support.stub_inference import CHLORINE, COMMAND, FLUORINE

CARBON = 6


class Heard:
    """Remembers what a host tells."""

    def __init__(self) -> None:
        self.restarts = 0
        self.in_use: list[bool] = []

    def inference_restarted(self) -> None:
        self.restarts += 1

    def compiled(self, card: ModelCard, in_use: bool) -> None:
        self.in_use.append(in_use)

    def compile_took(self, card: ModelCard, seconds: float) -> None:
        raise AssertionError("nothing is compiled here")


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
    """One for all tests, since a process takes seconds to start: it must survive them anyway."""
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
    shared[1].in_use.clear()
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


def package(tmp_path: Path, flaw: str) -> Package:
    path = tmp_path / f"{flaw}.pt2"
    path.write_text(flaw, encoding="utf-8")
    return Package(path, file_digest(path))


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
    names = ["positions", "atomic_numbers", "edge_index", "edge_shift", "structure_index"]

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
        "from forcegate_service.inference.host import InferenceHost;"
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


def test_compiled_code_is_taken_up_between_two_batches(
    runtime: HostedRuntime, heard: Heard, tmp_path: Path
) -> None:
    stop = threading.Event()
    graph = graph_of(1, 6, 7)
    expected = FakeRuntime(runtime.card).evaluate(graph).forces

    def ask() -> int:
        rounds = 0
        while not stop.is_set():
            np.testing.assert_array_equal(runtime.evaluate(graph).forces, expected)
            rounds += 1
        return rounds

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        try:
            runtime.adopt(package(tmp_path, "good"))
        finally:
            stop.set()
        assert all(future.result() >= 0 for future in asking)
    assert heard.in_use == [True]


def test_compiled_code_with_other_answers_is_refused(
    runtime: HostedRuntime, heard: Heard, tmp_path: Path
) -> None:
    with pytest.raises(CompilationFailed, match="forces deviates"):
        runtime.adopt(package(tmp_path, "wrong"))
    assert heard.in_use == [False]
    assert_right(runtime, graph_of(CARBON))


def test_compiled_code_that_ends_the_process_twice_is_not_used_again(
    runtime: HostedRuntime, heard: Heard, tmp_path: Path
) -> None:
    with pytest.raises(CompilationFailed, match="ends the process"):
        runtime.adopt(package(tmp_path, "crash"))
    assert heard.in_use == [False]
    assert heard.restarts == 2
    assert_right(runtime, graph_of(CARBON))


def test_compiled_code_that_was_good_comes_back_after_two_deaths_in_a_row(
    gate_file: Path, version: Path, tmp_path: Path
) -> None:
    heard, now = Heard(), [0.0]
    host = InferenceHost(1, "cpu", heard, COMMAND, clock=lambda: now[0])
    try:
        runtime = host.open(version)
        runtime.adopt(package(tmp_path, "good"))
        for rest_s in (60.0, 120.0):
            with pytest.raises(RuntimeFault):
                runtime.evaluate(graph_of(FLUORINE))
            assert heard.in_use.pop() is False
            # TorchScript serves for a while, and the compiled code again after it.
            for wait_s, told in ((rest_s - 1.0, [True]), (2.0, [True, True])):
                now[0] += wait_s
                assert_right(runtime, graph_of(CARBON))
                assert heard.in_use == told
            heard.in_use.pop()
    finally:
        host.close()


def test_a_package_that_was_changed_is_not_loaded(runtime: HostedRuntime, tmp_path: Path) -> None:
    built = package(tmp_path, "good")
    built.path.write_text("crash", encoding="utf-8")
    with pytest.raises(CompilationFailed, match="changed"):
        runtime.adopt(built)
    assert_right(runtime, graph_of(CARBON))


def test_compiled_code_is_taken_up_again_after_a_restart(
    host: InferenceHost, runtime: HostedRuntime, heard: Heard, tmp_path: Path
) -> None:
    runtime.adopt(package(tmp_path, "good"))
    os.kill(host.pid, signal.SIGKILL)
    assert_right(runtime, graph_of(CARBON))
    assert heard.restarts == 1
    assert heard.in_use == [True]


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


KILLED_GATEWAY = """
import os, signal, sys
from pathlib import Path
from forcegate_service.inference.host import InferenceHost

host = InferenceHost(1, "cpu", None, sys.argv[2:])
host.open(Path(sys.argv[1]))
os.kill(host.pid, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_processes_leave_no_temporary_files_beyond_the_next_start(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    mine = temporary / "forcegate-inference-of-nobody"
    mine.write_text("a file, and not a folder of ours")
    environment = os.environ | {"TMPDIR": str(temporary)}
    command = [sys.executable, "-c", KILLED_GATEWAY, str(version), *COMMAND]
    subprocess.run(command, env=environment, check=False, timeout=120)
    left = set(temporary.iterdir()) - {mine}
    assert left, "nothing was there to be cleaned up"
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    host = InferenceHost(1, "cpu", None, COMMAND)
    try:
        runtime = host.open(version)
        os.kill(host.pid, signal.SIGKILL)
        runtime.evaluate(graph_of(CARBON))
        assert not left & set(temporary.iterdir())
    finally:
        host.close()
    assert list(temporary.iterdir()) == [mine]
