"""Every supported Python that is here installs by hash what a gateway needs, and serves.

torch, which is too large to be fetched for a test, is left to the Python that runs the tests.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forcegate_service.runtimes.fake import write_fake_model

# Fills virtual environments from the package index.
pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
SUPPORTED = [(3, minor) for minor in range(11, 15)]

STEP = """
import sys
from ase.build import molecule
from forcegate_client import RemoteCalculator
atoms = molecule("H2O")
atoms.calc = RemoteCalculator(sys.argv[1], model="fake")
print(atoms.get_potential_energy(), sys.version_info[:2])
"""


def interpreters() -> Iterator[str]:
    """Programs that may be a Python: on the path, and where version managers keep theirs."""
    for _, minor in SUPPORTED:
        yield from filter(None, [shutil.which(f"python3.{minor}")])
    for place in ("~/.pyenv/versions", "~/.local/share/uv/python", "/opt/python"):
        yield from map(str, sorted(Path(place).expanduser().glob("*/bin/python3")))


def found(version: tuple[int, int]) -> str | None:
    code = f"import ensurepip, sys; sys.exit(sys.version_info[:2] != {version})"
    for program in interpreters():
        if subprocess.run([program, "-c", code], capture_output=True, timeout=60).returncode == 0:
            return program
    return None


def run(*command: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, cwd=ROOT, timeout=900
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("version", [each for each in SUPPORTED if each != sys.version_info[:2]])
def test_a_gateway_installs_and_serves(version: tuple[int, int], tmp_path: Path) -> None:
    python = found(version)
    if python is None:
        pytest.skip(f"no Python {version[0]}.{version[1]} on this machine")
    venv = tmp_path / "venv"
    run(python, "-m", "venv", venv)
    pip = (venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile")
    run(*pip, "--require-hashes", "--requirement", "requirements/gateway.txt")
    run(*pip, "--no-deps", "--no-build-isolation", "./clients", "./engine", ".")
    # Modules that a gateway has no packages for are at least read, and without a warning.
    packages = venv / "lib" / f"python{version[0]}.{version[1]}" / "site-packages"
    names = ("forcegate_client", "forcegate_engine", "forcegate_service")
    own = [packages / name for name in names]
    run(venv / "bin" / "python", "-W", "error", "-m", "compileall", "-q", *own)
    assert "--version" in run(venv / "bin" / "forcegate-serve", "--help")
    assert "predict" in run(venv / "bin" / "forcegate", "--help")
    write_fake_model(tmp_path / "models")
    command = [venv / "bin" / "forcegate-serve", "--runtime", "fake", "--port", "0"]
    with subprocess.Popen(
        [*command, "--model-repository", tmp_path / "models"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip().rpartition(" ")[2]
            shown = run(venv / "bin" / "python", "-c", STEP, url)
            assert shown.strip().endswith(str(version))
            server.terminate()
            assert server.wait(timeout=120) == 0
        finally:
            server.kill()
