"""Commands whose disk fills while they write: one line, what was there before, and they go on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from ase.build import molecule
from ase.io import read, write
from typer.testing import CliRunner

from forcegate_client.cli.app import app
from forcegate_client.testing import FakeServer, serve
from support.full_disk import fill, small_disk

FORCEGATE = str(Path(sys.executable).with_name("forcegate"))
YESTERDAY = "of yesterday"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of its own in the working folder, with a file on it; a server is there."""
    monkeypatch.chdir(tmp_path)
    with small_disk(tmp_path / "disk", 2**22) as folder, serve(FakeServer()) as address:
        monkeypatch.setenv("FORCEGATE_URL", address)
        (folder / "notes").write_text(YESTERDAY)
        yield Path("disk")


def leave_room(disk: Path, n_bytes: int) -> Path:
    """Fill ``disk`` but for ``n_bytes``; the file to remove for more room."""
    ballast = fill(disk)
    os.truncate(ballast, ballast.stat().st_size - n_bytes)
    return ballast


def forcegate(*arguments: str) -> tuple[int, str]:
    """Exit code, and the lines of standard error that are errors."""
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, errors_in(done.stderr)


def process_of(*arguments: str) -> tuple[int, str]:
    """The same of a process, which a library that cannot write, or that closes late, might end."""
    done = subprocess.run([FORCEGATE, *arguments], capture_output=True, text=True, timeout=120)
    return done.returncode, errors_in(done.stderr)


def errors_in(stderr: str) -> str:
    lines = stderr.splitlines()
    return "\n".join(line for line in lines if line.startswith(("error:", "Traceback")))


def is_one_line(result: tuple[int, str]) -> bool:
    code, said = result
    return code == 1 and said.count("\n") == 0 and "No space left" in said


def rattled(count: int) -> None:
    frames = [molecule("CH3CH2OH") for _ in range(count)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.02, seed=seed)
    write("f.extxyz", frames)


@pytest.mark.parametrize("command", ["predict", "relax"])
def test_results_of_yesterday_stay(disk: Path, command: str) -> None:
    rattled(40)
    (disk / "r.extxyz").write_text(YESTERDAY)
    ballast = leave_room(disk, 8192)
    again = (command, "f.extxyz", "--out", "disk/r.extxyz", "--overwrite")
    assert is_one_line(forcegate(*again))
    assert (disk / "r.extxyz").read_text() == YESTERDAY
    assert {path.name for path in disk.iterdir()} == {"ballast", "notes", "r.extxyz"}
    ballast.unlink()
    assert forcegate(*again)[0] == 0
    assert len(read("disk/r.extxyz", ":")) == 40
    assert (disk / "notes").read_text() == YESTERDAY


@pytest.mark.parametrize("room", [0, 98_304])
def test_a_screening_goes_on_where_the_disk_was_full(disk: Path, room: int) -> None:
    rattled(200)
    ballast = leave_room(disk, room)
    command = ("screen", "f.extxyz", "--out", "disk/out", "--part-size", "50", "--keep-forces")
    assert is_one_line(process_of(*command))
    assert list(disk.rglob("*.tmp")) == []
    before = {path: path.read_bytes() for path in disk.glob("out/parts/*.h5")}
    ballast.unlink()
    assert forcegate(*command)[0] == 0
    with h5py.File(disk / "out" / "results.h5") as file:
        assert file["rows/index"][()].tolist() == list(range(200))
    assert all(path.read_bytes() == content for path, content in before.items() if path.exists())
    assert (disk / "notes").read_text() == YESTERDAY


MD = ("md", "w.xyz", "--equilibrate-ps", "0", "--timestep-fs", "0.25", "--frame-every", "5")


def test_a_run_of_dynamics_goes_on_where_the_disk_was_full(disk: Path) -> None:
    write("w.xyz", molecule("H2O"))
    run = (*MD, "--time-ps", "0.2", "--out", "disk/run")
    ballast = leave_room(disk, 49_152)
    assert is_one_line(process_of(*run))
    ballast.unlink()
    assert forcegate(*run, "--continue")[0] == 0
    assert forcegate(*MD, "--time-ps", "0.2", "--out", "whole")[0] == 0
    assert Path("disk/run/log.csv").read_text() == Path("whole/log.csv").read_text()
    found, whole = (read(f"{name}/trajectory.traj", ":") for name in ("disk/run", "whole"))
    assert len(found) == len(whole)
    assert (found[-1].positions == whole[-1].positions).all()
    assert (disk / "notes").read_text() == YESTERDAY


@pytest.mark.parametrize("option", [(), ("--overwrite",)])
def test_a_run_that_records_nothing_leaves_the_one_before(
    disk: Path, option: tuple[str, ...]
) -> None:
    write("w.xyz", molecule("H2O"))
    run = (*MD, "--time-ps", "0.01", "--out", "disk/run")
    if option:
        assert forcegate(*run)[0] == 0
    before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
    ballast = leave_room(disk, 0)
    result = process_of(*run, *option)
    assert is_one_line(result)
    assert "nothing is kept" in result[1]
    ballast.unlink()
    assert {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()} == before
    assert forcegate(*run, *option)[0] == 0
