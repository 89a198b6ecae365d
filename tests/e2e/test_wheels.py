"""All distributions build, install where there is neither compiler nor checkout, and compute."""

from __future__ import annotations

import os
import platform
import shutil
import struct
import subprocess
import sys
import tomllib
import venv
import zipfile
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


def try_here() -> str:
    """What the engine of this checkout answers: a line for each version."""
    command = [sys.executable, ROOT / "engine" / "try_wheel.py", ROOT / "model_repository"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
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
    assert tried == try_here()
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
    assert "-1766" in run(clean, forcegate, "predict", molecule, "--local", "--csv")
    # And a gateway.
    run(clean, *install, f"{wheel(dist, 'forcegate')}[embedded]")
    with gateway(clean) as url:
        assert len(run(clean, "-c", COMPARE, url).split()) == len(listed) - 1


def test_any_processor_of_the_platform_finds_its_kernel_in_the_wheel(dist: Path) -> None:
    with zipfile.ZipFile(wheel(dist, "forcegate-engine")) as archive:
        library = archive.read("forcegate_engine/libforcegate.so")
    kind = {"x86_64": ("avx512", "avx2", "portable"), "aarch64": ("neon",)}
    for kernel in kind.get(platform.machine(), ("portable",)):
        assert f"{kernel}\0".encode() in library


def test_clang_makes_the_same_of_the_sources(dist: Path, tmp_path: Path) -> None:
    if shutil.which("clang++") is None:
        if os.environ.get("CI"):
            pytest.fail("clang++ is needed")
        pytest.skip("clang++ is not here: clang")
    (sources,) = dist.glob("forcegate_engine-*.tar.gz")
    shutil.unpack_archive(sources, tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    environment = os.environ | {"CXX": "clang++", "PYTHONPATH": str(folder)}
    answers = []
    for command in (["hatch_build.py"], [ROOT / "engine/try_wheel.py", ROOT / "model_repository"]):
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        answers = [line.split() for line in done.stdout.splitlines()]
    own = {line[0]: line for line in map(str.split, try_here().splitlines())}
    assert len(answers) == len(own)
    for name, version_, kernel, energy in answers:
        assert own[name][1:3] == [version_, kernel]
        one, other = (struct.unpack("d", bytes.fromhex(bits))[0] for bits in (energy, own[name][3]))
        assert one == pytest.approx(other, abs=1e-5)


def test_cibuildwheel_knows_what_to_build(clean: Path) -> None:
    run(clean, "-m", "pip", "install", "--quiet", "cibuildwheel")
    command = ("-m", "cibuildwheel", "--platform", "linux", "--print-build-identifiers")
    found = run(clean, *command, ROOT / "engine").split()
    tag = f"manylinux_{platform.machine()}"
    assert found == [f"cp3{minor}-{tag}" for minor in range(11, 15)]


def test_cibuildwheel_builds_for_this_platform(clean: Path, tmp_path: Path) -> None:
    engine = shutil.which("docker")
    if engine is None or subprocess.run([engine, "info"], capture_output=True).returncode:
        pytest.skip(
            "no container engine answers, and cibuildwheel builds for Linux in containers; "
            "the release workflow runs it, and the wheel of these tests is built without"
        )
    command = [clean / "bin" / "python", "-m", "cibuildwheel", "--only"]
    only = f"cp311-manylinux_{platform.machine()}"
    subprocess.run(
        [*map(str, command), only, "--output-dir", str(tmp_path), "engine"], check=True, cwd=ROOT
    )
    assert len(list(tmp_path.glob("*manylinux*.whl"))) == 1


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
