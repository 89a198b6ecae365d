"""The engine installs by itself from its wheel, where there is no compiler and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from forcegate_engine import Model
from support.models import newest_version

# Compiles the engine, and fills a virtual environment from the package index.
pytestmark = pytest.mark.system

ENGINE = Path(__file__).parents[2] / "engine"

SCRIPT = """
import sys
from importlib.util import find_spec
for name in ("torch", "ase", "forcegate_client", "forcegate_service", "forcegate_trainer"):
    assert find_spec(name) is None, name
import numpy as np
from forcegate_engine import Model
model = Model.open(sys.argv[1])
print(model.evaluate([8, 1, 1], np.eye(3)).energy.tobytes().hex())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By way of the source distribution, which must bring all that is compiled."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, str(ENGINE)], check=True, capture_output=True)
    assert list(folder.glob("*.tar.gz"))
    (built,) = folder.glob("*.whl")
    return built


def test_a_wheel_fits_every_python_of_its_platform(wheel: Path) -> None:
    assert wheel.name.startswith("forcegate_engine-")
    assert "-py3-none-" in wheel.name
    assert wheel.stat().st_size < 2**20


def test_its_wheel_answers_where_nothing_else_is(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    # Nothing of this environment, and no compiler to be found.
    environment = {"PATH": str(home / "bin"), "HOME": str(tmp_path)}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    folder = str(newest_version("painn_tiny"))
    for words in (["-m", "pip", "install", "-q", str(wheel)], ["-c", SCRIPT, folder]):
        command = [str(python), *words]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr
    here = Model.open(newest_version("painn_tiny")).evaluate([8, 1, 1], np.eye(3))
    assert done.stdout.strip() == here.energy.tobytes().hex()
