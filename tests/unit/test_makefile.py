"""`make install` takes any Python that will do, and says which one it wants where there is none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make") or "make"

# As much of Python as `make install` uses, which leaves what it was called with.
WORKING = """#!/bin/sh
echo "${0##*/} $*" >> calls
case "$1 $2" in "-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;; esac
"""
# What version managers put on the path for versions that are not switched on.
SHIM = '#!/bin/sh\necho "$0: command not found" >&2\nexit 127\n'
# A distribution's Python whose package for virtual environments is another one.
WITHOUT_VENV = "#!/bin/sh\necho \"No module named 'ensurepip'\" >&2\nexit 1\n"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with what make needs besides Python, and a checkout beside it."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("mkdir", "cp", "touch", "find"):
        (folder / name).symlink_to(shutil.which(name) or name)
    for name in ("clients", "engine", "models", "benchmarks"):
        (tmp_path / name).mkdir()
    (tmp_path / "requirements").mkdir()
    names = ["Makefile", "pyproject.toml"]
    names += [f"{name}/pyproject.toml" for name in ("clients", "engine", "models", "benchmarks")]
    for name in (*names, "constraints.txt", "requirements/dev.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return folder


def install(programs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MAKE, "install", *words],
        capture_output=True,
        text=True,
        cwd=programs.parent,
        env={"PATH": str(programs)},
        timeout=60,
    )


def put(programs: Path, **scripts: str) -> None:
    for name, text in scripts.items():
        path = programs / name.replace("_", ".")
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"python3_11": WORKING}, "python3.11"),
        ({"python3_12": WORKING}, "python3.12"),
        ({"python3_13": WORKING}, "python3.13"),
        ({"python3_14": WORKING}, "python3.14"),
        ({"python3_11": WORKING, "python3_14": WORKING, "python3": WORKING}, "python3.11"),
        ({"python3_11": SHIM, "python3_12": WITHOUT_VENV, "python3_13": WORKING}, "python3.13"),
        ({"python3_10": WORKING, "python3": WORKING}, "python3"),
    ],
)
def test_the_first_python_that_works_is_taken(
    there: dict[str, str], taken: str, programs: Path
) -> None:
    put(programs, **there)
    done = install(programs)
    assert done.returncode == 0, done.stderr
    calls = (programs.parent / "calls").read_text(encoding="utf-8").splitlines()
    assert [call.split()[0] for call in calls if "-m venv" in call] == [taken]


def test_all_but_torch_is_installed_by_its_hash(programs: Path) -> None:
    put(programs, python3_11=WORKING)
    assert install(programs).returncode == 0
    calls = (programs.parent / "calls").read_text(encoding="utf-8").splitlines()
    fetched = [call for call in calls if "pip install" in call and "--no-deps" not in call]
    hashed, torch = fetched
    assert "--require-hashes -r requirements/dev.txt" in hashed
    assert torch.endswith("-c constraints.txt torch")


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 11, 4), (3, 15, 0), (2, 7, 18)])
def test_another_python_is_refused_with_what_to_do(
    version: tuple[int, int, int], programs: Path
) -> None:
    pretend = f"import sys; sys.version_info = {version}; exec(sys.argv[1])"
    put(programs, python9=f'#!/bin/sh\nexec {sys.executable} -c "{pretend}" "$2"\n')
    done = install(programs, "PYTHON=python9")
    assert done.returncode != 0
    assert f"python9 is Python {'.'.join(map(str, version))}" in done.stderr
    assert "make install PYTHON=" in done.stderr
    assert not (programs.parent / ".venv").exists()


def test_no_python_at_all_is_an_error_too(programs: Path) -> None:
    done = install(programs)
    assert done.returncode != 0
    assert "python3" in done.stderr
