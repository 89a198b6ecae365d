"""All distributions build, install where there is neither compiler nor checkout, and compute."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.utils import parse_wheel_filename

# Compiles the engine, and fills a virtual environment from the package index.
pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "forcegate": ROOT,
    "forcegate-client": ROOT / "clients",
    "forcegate-engine": ROOT / "engine",
    "forcegate-models": ROOT / "models",
}
MIB = 2**20

# The ten lines of somebody who has a molecule and no server, and the same of a server.
COMPARE = """
import sys
import numpy as np
from ase.build import molecule
from forcegate_client import Client, LocalCalculator, RemoteCalculator
for entry in Client(sys.argv[1]).models():
    found = []
    name = entry["name"]
    for calculator in (RemoteCalculator(sys.argv[1], name), LocalCalculator(name)):
        atoms = molecule("CH3OH")
        atoms.calc = calculator
        found.append((atoms.get_potential_energy(), atoms.get_forces(), calculator.digest))
    (one, forces, digest), (other, others, same) = found
    assert digest == same
    assert abs(one - other) < 1e-5 and abs(forces - others).max() < 1e-5
    print(name)
"""
FILES = """
import sys
from importlib.metadata import files
for name in sys.argv[1:]:
    # What is compiled when it is first imported is not part of it.
    print(name, sum(f.size or 0 for f in files(name) if f.suffix != ".pyc"))
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source distributions, and the wheels that are built from them and nothing else."""
    folder = tmp_path_factory.mktemp("dist")
    for place in FOLDERS.values():
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
        done = subprocess.run([*command, str(place)], capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


def wheel(dist: Path, name: str) -> Path:
    (found,) = dist.glob(f"{name.replace('-', '_')}-*.whl")
    return found


@pytest.fixture(scope="module")
def clean(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with engine, students and client, and then all; without a compiler."""
    home = tmp_path_factory.mktemp("clean") / "environment"
    venv.create(home, with_pip=True)
    return home


def run(home: Path, *words: object, expected: int = 0) -> str:
    """Run in that environment: nothing of this one, and no compiler to be found."""
    environment = {"PATH": str(home / "bin"), "HOME": str(home.parent)}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    done = subprocess.run(
        [str(home / "bin" / "python"), *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=home.parent,
        timeout=900,
    )
    assert done.returncode == expected, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@contextmanager
def gateway(home: Path) -> Iterator[str]:
    """Serves a copy of the repository of students, on a free port."""
    repository = home.parent / "served"
    unused = shutil.ignore_patterns("report", "warmup")
    shutil.copytree(ROOT / "model_repository", repository, ignore=unused)
    command = [home / "bin" / "forcegate-serve", "--port", "0", "--model-repository", repository]
    with subprocess.Popen(
        [str(home / "bin" / "python"), *map(str, command)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": str(home / "bin"), "HOME": str(home.parent)},
        cwd=home.parent,
    ) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip().rpartition(" ")[2]
        finally:
            server.terminate()
            server.wait(timeout=120)


def test_each_distribution_has_sources_and_a_wheel_of_one_version(dist: Path) -> None:
    for name in FOLDERS:
        number = version(name)
        (sources,) = dist.glob(f"{name.replace('-', '_')}-{number}.tar.gz")
        assert sources.stat().st_size > 0
        assert str(parse_wheel_filename(wheel(dist, name).name)[1]) == number


def test_the_engine_fits_every_python_of_its_platform_and_the_others_all(dist: Path) -> None:
    for name in FOLDERS:
        (tag,) = parse_wheel_filename(wheel(dist, name).name)[3]
        assert (tag.interpreter, tag.abi) == ("py3", "none")
        assert (tag.platform == "any") == (name != "forcegate-engine")
    assert wheel(dist, "forcegate-engine").stat().st_size < MIB
    assert wheel(dist, "forcegate-models").stat().st_size < 10 * MIB


def test_it_computes_by_itself_and_then_with_a_gateway_beside_it(dist: Path, clean: Path) -> None:
    install = ("-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--find-links", dist)
    # The engine alone: numpy, and nothing else of ours.
    run(clean, *install, wheel(dist, "forcegate-engine"))
    run(clean, "-c", "import importlib.util as u; assert not u.find_spec('ase')")
    tried = run(clean, ROOT / "engine" / "try_wheel.py", ROOT / "model_repository")
    here = subprocess.run(
        [sys.executable, str(ROOT / "engine" / "try_wheel.py"), str(ROOT / "model_repository")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert tried == here.stdout
    # What `pip install 'forcegate-client[local]'` brings.
    run(clean, *install, f"{wheel(dist, 'forcegate-client')}[local]")
    ours = ("forcegate-client", "forcegate-engine", "forcegate-models")
    sizes = dict(line.split() for line in run(clean, "-c", FILES, *ours).splitlines())
    assert sum(map(int, sizes.values())) < 15 * MIB, sizes
    forcegate = clean / "bin" / "forcegate"
    listed = run(clean, forcegate, "models", "--local", "--csv").splitlines()
    assert len(listed) == 1 + len(list((ROOT / "model_repository").glob("*/*.pbtxt")))
    molecule = ROOT / "examples" / "aspirin.xyz"
    run(clean, forcegate, "md", molecule, "--local", "--time-ps", 0.01, "--equilibrate-ps", 0)
    assert "-107" in run(clean, forcegate, "predict", molecule, "--local", "--csv")
    # And a gateway.
    run(clean, *install, f"{wheel(dist, 'forcegate')}[embedded]")
    with gateway(clean) as url:
        assert len(run(clean, "-c", COMPARE, url).split()) == len(listed) - 1


def test_an_index_would_take_them(dist: Path, clean: Path) -> None:
    run(clean, "-m", "pip", "install", "--quiet", "twine")
    files = sorted(dist.iterdir())
    assert len(files) == 2 * len(FOLDERS)
    assert "FAILED" not in run(clean, "-m", "twine", "check", "--strict", *files)


def test_the_release_builds_what_the_engine_says_and_everything_else() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = "\n".join(step.get("run", "") for step in steps)
    for place in FOLDERS.values():
        name = place.relative_to(ROOT).as_posix()
        assert name == "." or name in commands
    assert workflow["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert "password" not in str(workflow)
    project = tomllib.loads((ROOT / "engine" / "pyproject.toml").read_text())
    wanted = project["tool"]["cibuildwheel"]
    assert wanted["build"] == [f"cp3{minor}-*" for minor in range(11, 15)]
    assert "try_wheel.py" in wanted["test-command"]
