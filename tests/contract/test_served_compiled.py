"""``forcegate-serve`` with its inference process, from a warm cache and from a cold one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from forcegate_client.structures import StructureBatch
from forcegate_service.compilation.build import Built
from forcegate_service.embedded import EmbeddedRuntime
from forcegate_service.graph import build_graph
from support.models import newest_version

# Compiles programs with g++ for a minute.
pytestmark = pytest.mark.system

COMMAND = [sys.executable, "-c", "from forcegate_service.cli import main; main()"]
WATER = {
    "atomic_numbers": [8, 1, 1],
    "positions": [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]],
}
BODY = {"model": "small", "structures": [WATER]}


@contextmanager
def serving(
    version: Path, log: Path, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A server of the repository of ``version``, once it is ready, and a client of it."""
    options = ["--port", "0", "--torch-threads", "1", "--model-repository", str(version.parents[1])]
    settings = os.environ | {"FORCEGATE_COMPILE": "auto", "FORCEGATE_DEVICE": "cpu"} | environment
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*COMMAND, *options], stdout=subprocess.PIPE, stderr=stream, text=True, env=settings
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline().strip()
        assert line.startswith("forcegate is listening on "), log.read_text()
        with httpx.Client(base_url=line.rpartition(" ")[2], timeout=120) as client:
            yield process, client
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def children(pid: int) -> dict[int, str]:
    """The commands of the processes that ``pid`` started and that still run."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        # Whatever ends meanwhile is no child any more.
        with suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(folder.name)] = command.decode()
    return found


def child(pid: int, module: str) -> int:
    """The one that runs ``module``, once it is there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        running = [number for number, command in children(pid).items() if module in command]
        if running:
            (found,) = running
            return found
        time.sleep(0.02)
    raise AssertionError(f"no child of {pid} runs {module}: {children(pid)}")


def forces(client: httpx.Client) -> np.ndarray[Any, Any]:
    response = client.post("/v1/predict", json=BODY)
    assert response.status_code == 200, response.text
    return np.array(response.json()["results"][0]["forces"])


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    (value,) = [line.rpartition(" ")[2] for line in lines if line.startswith(name)]
    return float(value)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Only a hang takes long enough to fail here."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"never: {what}")


def scripted(version: Path) -> np.ndarray[Any, Any]:
    batch = StructureBatch.from_arrays([3], WATER["atomic_numbers"], WATER["positions"])
    return EmbeddedRuntime(version).evaluate(build_graph(batch, 5.0)).forces


IN_USE = 'forcegate_model_compiled{model="small",version="1"}'
RESTARTS = "forcegate_inference_process_restarts_total"


def test_a_server_outlives_its_inference_process(
    compiled_version: Path, cache: Path, built: Built, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    expected = scripted(compiled_version)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    settings = {"FORCEGATE_CACHE_DIR": str(cache), "TMPDIR": str(temporary)}
    with serving(compiled_version, log, **settings) as (process, client):
        # From the cache, so from the first request on.
        assert metric(client, IN_USE) == 1
        np.testing.assert_allclose(forces(client), expected, atol=1e-5)
        first = child(process.pid, "forcegate_service.inference")
        os.kill(first, signal.SIGKILL)
        np.testing.assert_allclose(forces(client), expected, atol=1e-5)
        assert process.poll() is None
        assert metric(client, RESTARTS) == 1
        assert metric(client, IN_USE) == 1
        assert "the inference process was lost" in log.read_text()
        second = child(process.pid, "forcegate_service.inference")
        assert second != first
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
        assert not Path(f"/proc/{second}").exists()
    # Compiled code is unpacked into it, by the process that was killed too.
    assert not list(temporary.iterdir())
    assert "bare version 1 is served by TorchScript alone" in log.read_text()


def test_without_a_compiler_torchscript_goes_on(compiled_version: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = {"FORCEGATE_CACHE_DIR": str(tmp_path / "cache"), "CXX": "no-such-compiler"}
    with serving(compiled_version, log, **environment) as (process, client):
        reason = "TorchScript serves: no C++ compiler 'no-such-compiler'"
        wait_until(lambda: reason in log.read_text(), "the reason in the log")
        assert metric(client, IN_USE) == 0
        np.testing.assert_allclose(forces(client), scripted(compiled_version), atol=1e-6)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


@pytest.mark.parametrize("mode", [0o777, 0o755])
def test_a_cache_that_cannot_be_trusted_is_not_used(
    compiled_version: Path, tmp_path: Path, mode: int
) -> None:
    log = tmp_path / "log"
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    with serving(compiled_version, log, FORCEGATE_CACHE_DIR=str(tmp_path / "cache")) as (_, client):
        reason = f"mode {mode:o}"
        wait_until(lambda: reason in log.read_text(), "the reason in the log")
        assert metric(client, IN_USE) == 0
        assert forces(client).shape == (3, 3)
    assert not list((tmp_path / "cache").rglob("*.*"))


def test_a_shipped_model_is_served_by_compiled_code_where_there_is_a_compiler(
    tmp_path: Path,
) -> None:
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        pytest.skip(f"no C++ compiler {compiler!r}")
    # The smallest, which takes a minute of a core.
    shipped = newest_version("painn_ultra_tiny")
    version = tmp_path / "models" / shipped.parent.name / shipped.name
    shutil.copytree(shipped, version)
    body = BODY | {"model": shipped.parent.name}
    in_use = f'forcegate_model_compiled{{model="{shipped.parent.name}",version="{shipped.name}"}}'

    def asked(client: httpx.Client) -> np.ndarray[Any, Any]:
        response = client.post("/v1/predict", json=body)
        assert response.status_code == 200, response.text
        return np.array(response.json()["results"][0]["forces"])

    with serving(version, tmp_path / "log", FORCEGATE_CACHE_DIR=str(tmp_path / "cache")) as (
        process,
        client,
    ):

        def taken_over() -> bool:
            assert "TorchScript serves:" not in (tmp_path / "log").read_text()
            return metric(client, in_use) == 1

        wait_until(taken_over, "compiled code in use")
        np.testing.assert_allclose(asked(client), scripted(version), atol=1e-5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


def test_a_stopping_server_ends_the_build_that_runs(compiled_version: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    cache = tmp_path / "cache"
    with serving(compiled_version, log, FORCEGATE_CACHE_DIR=str(cache)) as (process, client):
        builder = child(process.pid, "forcegate_service.compilation.builder")
        assert os.getpriority(os.PRIO_PROCESS, builder) >= 0
        assert forces(client).shape == (3, 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
        assert not Path(f"/proc/{builder}").exists()
    assert not list(cache.rglob("*.json"))


def test_compiling_ahead_from_the_command_line(
    compiled_version: Path, cache: Path, built: Built
) -> None:
    def compile_models(*names: str) -> subprocess.CompletedProcess[str]:
        options = ["--model-repository", str(compiled_version.parents[1]), *names]
        settings = {
            "FORCEGATE_CACHE_DIR": str(cache),
            "FORCEGATE_TORCH_THREADS": "1",
            "FORCEGATE_DEVICE": "cpu",
        }
        return subprocess.run(
            [*COMMAND, "compile", *options],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | settings,
        )

    done = compile_models("small")
    assert (done.returncode, done.stdout) == (0, "small version 1: compiled already\n"), done.stderr
    done = compile_models("bare")
    assert done.returncode == 1
    assert "bare version 1: not compiled: " in done.stdout
    done = compile_models("huge")
    assert done.returncode == 1
    assert "huge" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.system
def test_compiled_code_takes_over_while_requests_are_served(
    compiled_version: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    environment = {"FORCEGATE_CACHE_DIR": str(tmp_path / "cache")}
    expected = scripted(compiled_version)
    with serving(compiled_version, log, **environment) as (process, client):
        assert metric(client, IN_USE) == 0

        def taken_over() -> bool:
            np.testing.assert_allclose(forces(client), expected, atol=1e-5)
            return metric(client, IN_USE) == 1

        wait_until(taken_over, "compiled code in use")
        np.testing.assert_allclose(forces(client), expected, atol=1e-5)
        assert metric(client, "forcegate_compile_seconds{") > 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    assert "compiling in the background" in log.read_text()
