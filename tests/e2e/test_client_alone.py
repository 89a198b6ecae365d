"""The client installs by itself, without torch and without the server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Fills a virtual environment from the package index.
pytestmark = pytest.mark.system

CLIENTS = Path(__file__).parents[2] / "clients"

LIGHT = """
import sys
import forcegate_client, forcegate_client.cli.app, forcegate_client.nve
from importlib.util import find_spec
for name in ("torch", "fastapi", "forcegate_service", "forcegate_trainer", "h5py"):
    assert find_spec(name) is None, name
print(forcegate_client.__file__)
"""


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", CLIENTS], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return folder


def run(*command: object) -> str:
    # Isolated from this checkout: started elsewhere, and without the environment's search path.
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd="/", timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_client_alone_imports_without_torch_fastapi_or_h5py(venv: Path) -> None:
    assert str(venv) in run(venv / "bin" / "python", "-I", "-c", LIGHT)


def test_the_command_line_works_alone(venv: Path) -> None:
    output = run(venv / "bin" / "forcegate", "--help")
    for command in ("predict", "relax", "md", "models"):
        assert command in output
    assert "--timestep-fs" in run(venv / "bin" / "forcegate", "md", "--help")


def test_importing_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'h5py', 'matplotlib', 'fastapi'}"
    code = f"import sys, forcegate_client; print({heavy} & set(sys.modules))"
    assert run(sys.executable, "-c", code).strip() == "set()"
