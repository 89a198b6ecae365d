"""The README does what it says: every command in it is run, as written."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from forcegate_trainer.demo.gateway import running_gateway
from support.readme import ROOT, blocks, commands

pytestmark = pytest.mark.system

BIN = Path(sys.executable).parent
TRAINING = [line for line in commands() if "forcegate-train" in line]
CLIENT = [line for line in commands() if line.startswith((".venv/bin/forcegate ", "curl "))]
# Run by .ci/run and by the tests below.
TARGETS = ["make demo", "make test", ".venv/bin/forcegate-serve --port 8000"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's relative paths work."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("examples", "model_repository"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(BIN)
    return folder


@pytest.fixture(scope="module")
def gateway(checkout: Path) -> Iterator[str]:
    """The server that the README starts, on a free port."""
    with running_gateway(checkout / "model_repository", checkout / "gateway.log") as url:
        yield url


def _run(command: str, folder: Path) -> str:
    done = subprocess.run(
        shlex.split(command), cwd=folder, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_no_command_of_the_readme_is_left_out_here() -> None:
    assert sorted(commands()) == sorted(TRAINING + CLIENT + TARGETS)
    assert "make test\n" in (ROOT / ".ci" / "run").read_text()


def test_the_client_commands_work_as_written(checkout: Path, gateway: str) -> None:
    port = httpx.URL(gateway).port
    for command in CLIENT:
        if command.startswith(".venv") and "--local" not in command:
            command += f" --url {gateway}"
        out = _run(command.replace(":8000/", f":{port}/"), checkout)
        assert out
    assert (checkout / "relaxed.extxyz").stat().st_size > 0
    assert list((checkout / "md").glob("*.png"))
    assert list((checkout / "md_local").glob("*.png"))


@pytest.mark.parametrize("calculator", ["RemoteCalculator", "LocalCalculator"])
def test_the_script_runs_molecular_dynamics(
    checkout: Path, gateway: str, monkeypatch: pytest.MonkeyPatch, calculator: str
) -> None:
    (script,) = blocks("python")
    assert len([line for line in script.splitlines() if line and "import" not in line]) <= 10
    # The one word that is another one where there is no server.
    (checkout / "script.py").write_text(script.replace("RemoteCalculator", calculator))
    here = calculator == "LocalCalculator"
    monkeypatch.setenv("FORCEGATE_URL", "http://127.0.0.1:9" if here else gateway)
    out = _run(f"{sys.executable} script.py", checkout)
    kelvin = float(out.split(" K ")[0])
    assert 30 < kelvin < 900
    assert "meV/atom/ps" in out


def test_the_server_command_works_as_written_but_for_the_port(checkout: Path) -> None:
    (command,) = [line for line in commands() if "forcegate-serve" in line]
    process = subprocess.Popen(
        shlex.split(command.replace("--port 8000", "--port 0")),
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.rsplit(" ", 1)[1].strip()
        assert httpx.get(f"{url}/health/ready", timeout=30).status_code == 200
        assert httpx.get(f"{url}/docs", timeout=30).status_code == 200
    finally:
        process.terminate()
        _, code = process.communicate(timeout=60), process.returncode
    assert code == 0


def test_the_training_commands_make_a_student_that_can_be_served(checkout: Path) -> None:
    for command in TRAINING:
        _run(command, checkout)
    report = checkout / "my_models" / "painn_ultra_tiny" / "1" / "report_quick" / "report.md"
    assert "component R²" in report.read_text()
    with running_gateway(checkout / "my_models", checkout / "mine.log") as url:
        models = httpx.get(f"{url}/v1/models", timeout=30).json()
    assert "painn_ultra_tiny" in str(models)


def test_make_demo_ends_well_and_leaves_plots_and_trajectories(tmp_path: Path) -> None:
    out = _run(
        f"{sys.executable} -m forcegate_trainer.demo --out {tmp_path} "
        f"--model-repository {ROOT / 'model_repository'}",
        ROOT,
    )
    assert "ibuprofen" in out
    for name in ("aspirin", "caffeine", "ibuprofen"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
        assert (tmp_path / f"{name}.extxyz").stat().st_size > 10_000
    assert "python -m forcegate_trainer.demo --out demo" in (ROOT / "Makefile").read_text()
