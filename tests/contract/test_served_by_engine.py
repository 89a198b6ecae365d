"""``forcegate-serve`` with its inference process: the engine wherever it can, without torch."""

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

import forcegate_engine
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import ENGINE_NAME, ModelCard, content_digest
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.contract.graph import build_graph
from forcegate_service.models.loading import load_version
from forcegate_service.runtimes.engine import EngineRuntime
from forcegate_service.runtimes.here import open_here
from forcegate_service.runtimes.torchscript import TorchScriptRuntime
from support.versions import write_random_version

COMMAND = [sys.executable, "-c", "from forcegate_service.cli import main; main()"]
WATER = {
    "atomic_numbers": [8, 1, 1],
    "positions": [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]],
}
BODY = {"model": "small", "structures": [WATER]}


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version with weights for the engine, in a repository with one that has none."""
    repository = tmp_path_factory.mktemp("models")
    write_random_version(repository, "bare", engine=False)
    write_random_version(repository, "charged", charges=True)
    return write_random_version(repository, "small")


@contextmanager
def serving(
    version: Path, log: Path, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A server of the repository of ``version``, once it is ready, and a client of it."""
    options = ["--port", "0", "--torch-threads", "1", "--model-repository", str(version.parents[1])]
    settings = os.environ | {"FORCEGATE_DEVICE": "cpu"} | environment
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


def inference_of(pid: int) -> int:
    """The inference process of a gateway."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        # Whatever ends meanwhile is no child any more.
        with suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(folder.name))
    (child,) = found
    return child


def predicted(client: httpx.Client, body: dict[str, Any] = BODY) -> list[dict[str, Any]]:
    response = client.post("/v1/predict", json=body)
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    (value,) = [line.rpartition(" ")[2] for line in lines if line.startswith(name)]
    return float(value)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Only a hang takes long enough to fail here."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"never: {what}")


def scripted(version: Path) -> np.ndarray[Any, Any]:
    batch = StructureBatch.from_arrays([3], WATER["atomic_numbers"], WATER["positions"])
    runtime = TorchScriptRuntime(version)
    return runtime.evaluate(build_graph(batch, *runtime.card.reach)).forces


def on_engine(client: httpx.Client, model: str) -> float:
    return metric(client, f'forcegate_model_on_engine{{model="{model}",version="1"}}')


def without_torch(folder: Path) -> tuple[str, Path]:
    """A path for Python on which there is no torch, and a file that appears if it is asked for."""
    folder.mkdir()
    asked_for = folder / "asked for"
    (folder / "torch.py").write_text(
        f"import pathlib; pathlib.Path({str(asked_for)!r}).touch(); raise ImportError('no torch')\n"
    )
    return str(folder), asked_for


def test_a_gateway_on_the_engine_needs_no_torch_and_outlives_its_inference_process(
    version: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "models"
    for name in ("small", "charged"):
        shutil.copytree(version.parents[1] / name, repository / name)
    log = tmp_path / "log"
    path, torch_asked_for = without_torch(tmp_path / "bare")
    environment = {
        "PYTHONPATH": path,
        "FORCEGATE_INFERENCE_TIMEOUT_S": "2",
        "FORCEGATE_MAX_STRUCTURE_S": "1",
    }
    with serving(repository / "small" / "1", log, **environment) as (process, client):
        (first,) = predicted(client)
        np.testing.assert_allclose(first["forces"], scripted(version), atol=1e-5)
        # What a network of random weights takes it for.
        ion = {"model": "charged", "structures": [WATER | {"charge": 2}]}
        wanted = scripted(version.parents[1] / "charged" / "1")
        np.testing.assert_allclose(predicted(client, ion)[0]["forces"], wanted, atol=1e-5)
        assert on_engine(client, "small") == on_engine(client, "charged") == 1
        # To the last bit: in company, by another process, and after a hang.
        water = BODY | {"structures": [WATER] * 40}
        assert {str(one["forces"]) for one in predicted(client, water)} == {str(first["forces"])}
        victim = inference_of(process.pid)
        os.kill(victim, signal.SIGKILL)
        assert predicted(client) == [first]
        assert metric(client, "forcegate_inference_process_restarts_total") == 1
        victim = inference_of(process.pid)
        os.kill(victim, signal.SIGSTOP)
        response = client.post("/v1/predict", json=BODY)
        assert response.status_code == 503, response.text
        assert "hangs" in response.json()["received"]
        wait_until(lambda: client.get("/health/ready").status_code == 200, "ready again")
        assert predicted(client) == [first]
        assert not Path(f"/proc/{victim}").exists()
        assert "the inference process was lost" in log.read_text()
        assert "TorchScript" not in log.read_text()
        assert not torch_asked_for.exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


def test_an_answer_belongs_to_its_question_whatever_was_refused_before(
    version: Path, tmp_path: Path
) -> None:
    close = WATER | {"positions": [[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [-0.24, 0.93, 0.0]]}
    unknown = WATER | {"atomic_numbers": [92, 1, 1]}
    turned = WATER | {"positions": [[y, x, z] for x, y, z in WATER["positions"]]}
    with serving(version, tmp_path / "log") as (_, client):
        # In company each is computed after all of them are checked.
        wanted = predicted(client, BODY | {"structures": [WATER, turned, WATER, turned]})
        for _ in range(10):
            for structure, code in ((close, "atoms_too_close"), (unknown, "element_unsupported")):
                response = client.post("/v1/predict", json=BODY | {"structures": [structure]})
                assert response.json()["code"] == code
                for asked, answer in ((WATER, wanted[0]), (turned, wanted[1])):
                    (alone,) = predicted(client, BODY | {"structures": [asked]})
                    assert alone["forces"] == answer["forces"]
                    assert alone["energy"] == answer["energy"]


def test_torchscript_serves_what_the_engine_cannot_and_the_log_says_why(
    version: Path, tmp_path: Path
) -> None:
    # The engine as it is where nobody has compiled it.
    library = "libforcegate.so"
    home = Path(forcegate_engine.__file__).parent
    shutil.copytree(home, tmp_path / "path" / home.name, ignore=shutil.ignore_patterns(library))
    log = tmp_path / "log"
    with serving(version, log, PYTHONPATH=str(tmp_path / "path")) as (process, client):
        (result,) = predicted(client)
        np.testing.assert_allclose(result["forces"], scripted(version), atol=1e-6)
        assert on_engine(client, "small") == on_engine(client, "bare") == 0
        close = WATER | {"positions": [[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [-0.24, 0.93, 0.0]]}
        response = client.post("/v1/predict", json=BODY | {"structures": [close]})
        assert response.json()["code"] == "atoms_too_close"
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    said = [line for line in log.read_text().splitlines() if "TorchScript serves" in line]
    assert len(said) == 3
    for model, reason in (("bare", f"it has no {ENGINE_NAME}"), ("small", library)):
        (line,) = [line for line in said if f"{model} version 1" in line]
        assert reason in line


def test_what_the_engine_cannot_serve_is_refused_without_torch(
    version: Path, tmp_path: Path
) -> None:
    bare = version.parents[1] / "bare" / "1"
    code = f"from pathlib import Path; from forcegate_service.runtimes.here import open_here;\n\
from forcegate_service.contract.errors import ModelRefused\n\
try: open_here(Path({str(bare)!r}))\n\
except ModelRefused as error: print(error)"
    environment = os.environ | {"PYTHONPATH": without_torch(tmp_path / "bare")[0]}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert "torch is not installed" in done.stdout
    assert "forcegate[torchscript]" in done.stdout


def changed(version: Path, folder: Path, content: bytes) -> Path:
    """A copy whose card names other weights for the engine."""
    copy = folder / version.parent.name / version.name
    shutil.copytree(version, copy)
    card = ModelCard.load(copy)
    (copy / ENGINE_NAME).write_bytes(content)
    files = card.files | {ENGINE_NAME: content_digest(content)}
    card.model_copy(update={"files": files}).save(copy)
    return copy


def test_weights_are_those_of_the_card(version: Path, tmp_path: Path) -> None:
    assert isinstance(open_here(version).runtime, EngineRuntime)
    charged = version.parents[1] / "charged" / "1"
    for name, content, said in (
        ("none", b"no weights at all", "model.safetensors"),
        ("others", (charged / ENGINE_NAME).read_bytes(), "another interface"),
    ):
        with pytest.raises(ModelRefused, match=said):
            open_here(changed(version, tmp_path / name, content))
    copy = changed(version, tmp_path / "changed", b"some")
    (copy / ENGINE_NAME).write_bytes(b"other")
    with pytest.raises(ModelRefused, match="sha256"):
        open_here(copy)


def test_weights_that_answer_otherwise_than_the_card_are_refused(
    version: Path, tmp_path: Path
) -> None:
    content = bytearray((version / ENGINE_NAME).read_bytes())
    content[-4:] = np.float32(7.0).tobytes()
    copy = changed(version, tmp_path, bytes(content))
    with pytest.raises(ModelRefused, match="reference energy"):
        load_version(copy, EngineRuntime)


def test_a_card_may_name_a_program_that_is_gone(version: Path, tmp_path: Path) -> None:
    copy = changed(version, tmp_path, (version / ENGINE_NAME).read_bytes())
    card = ModelCard.load(copy)
    files = card.files | {"model.pt2": content_digest(b"a program")}
    card.model_copy(update={"files": files}).save(copy)
    assert isinstance(open_here(copy).runtime, EngineRuntime)
    # Who brings another one back is told.
    (copy / "model.pt2").write_bytes(b"another")
    with pytest.raises(ModelRefused, match=r"model\.pt2"):
        open_here(copy)
