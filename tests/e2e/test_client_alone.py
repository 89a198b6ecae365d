"""The client installs by itself on every Python, without torch and without the server."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import molecule
from ase.io import read, write

from forcegate_client.testing import FakeServer, serve

# Fills a virtual environment from the package index.
pytestmark = pytest.mark.system

CLIENTS = Path(__file__).parents[2] / "clients"
# What clients/pyproject.toml allows, and docs/client.md names.
MINORS = (11, 12, 13, 14)

LIGHT = """
import sys
import forcegate_client, forcegate_client.cli.app, forcegate_client.md.nve
from importlib.util import find_spec
for name in ("torch", "fastapi", "forcegate_service", "forcegate_trainer", "h5py"):
    assert find_spec(name) is None, name
print(forcegate_client.__file__)
"""
CALCULATE = """
import sys
from ase.build import molecule
from forcegate_client import RemoteCalculator
atoms = molecule("H2O")
atoms.calc = RemoteCalculator(sys.argv[1], model="springs")
print(atoms.get_potential_energy())
"""


def interpreter(minor: int) -> str | None:
    """A Python 3.``minor`` of this machine."""
    if sys.version_info[:2] == (3, minor):
        return sys.executable
    kept = Path.home() / ".pyenv" / "versions"
    found = sorted(kept.glob(f"3.{minor}.*/bin/python")) if kept.is_dir() else []
    return str(found[-1]) if found else _working(shutil.which(f"python3.{minor}"))


def _working(path: str | None) -> str | None:
    """A shim of pyenv may stand for nothing."""
    if path is None or subprocess.run([path, "-V"], capture_output=True).returncode != 0:
        return None
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client as it would be handed on."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, CLIENTS]
    subprocess.run(build, check=True, timeout=300)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module", params=MINORS, ids=lambda minor: f"3.{minor}")
def venv(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The wheel and what it needs, in an environment of each Python that is there."""
    python = interpreter(request.param)
    if python is None:
        pytest.skip(f"no Python 3.{request.param} on this machine")
    folder = tmp_path_factory.mktemp("alone") / "venv"
    subprocess.run([python, "-m", "venv", folder], check=True, timeout=120)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", wheel], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return folder


def run(*command: object, cwd: Path | str = "/", expected: int = 0) -> str:
    # Isolated from this checkout: started elsewhere, and without the environment's search path.
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd=cwd, timeout=120
    )
    assert done.returncode == expected, done.stderr
    return done.stdout + done.stderr


def test_the_client_alone_imports_without_torch_fastapi_or_h5py(venv: Path) -> None:
    assert str(venv) in run(venv / "bin" / "python", "-I", "-c", LIGHT)


def test_the_command_line_works_alone(venv: Path) -> None:
    output = run(venv / "bin" / "forcegate", "--help")
    for command in ("predict", "relax", "md", "models"):
        assert command in output
    assert "--timestep-fs" in run(venv / "bin" / "forcegate", "md", "--help")


def test_a_server_is_asked_and_answers(venv: Path, tmp_path: Path) -> None:
    forcegate = venv / "bin" / "forcegate"
    write(tmp_path / "water.xyz", molecule("H2O"))
    with serve(FakeServer()) as url:
        energy = float(run(venv / "bin" / "python", "-I", "-c", CALCULATE, url))
        told = ("--url", url, "--model", "springs")
        run(forcegate, "predict", "water.xyz", "--out", "out.xyz", *told, cwd=tmp_path)
        run(forcegate, "relax", "water.xyz", *told, cwd=tmp_path)
        run(forcegate, "md", "water.xyz", "--time-ps", "0.01", *told, cwd=tmp_path)
    assert read(tmp_path / "out.xyz").get_potential_energy() == pytest.approx(energy)


def test_what_the_wheel_does_not_bring_can_be_had_with_the_command_that_it_says(
    venv: Path, wheel: Path, tmp_path: Path
) -> None:
    forcegate = venv / "bin" / "forcegate"
    write(tmp_path / "water.xyz", molecule("H2O"))
    for command in (("screen", "water.xyz", "--out", "s"), ("merge", "s")):
        said = run(forcegate, *command, cwd=tmp_path, expected=1)
        assert len(said.splitlines()) == 1
        assert f"pip install '{wheel}[screening]'" in said
    install = [venv / "bin" / "python", "-m", "pip", "install", "-q", f"{wheel}[screening]"]
    subprocess.run(install, check=True, timeout=600)
    with serve(FakeServer()) as url:
        told = ("--url", url, "--model", "springs")
        run(forcegate, "screen", "water.xyz", "--out", "s", *told, cwd=tmp_path)


def test_importing_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'h5py', 'matplotlib', 'fastapi'}"
    code = f"import sys, forcegate_client; print({heavy} & set(sys.modules))"
    assert run(sys.executable, "-c", code).strip() == "set()"
