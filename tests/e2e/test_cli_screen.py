"""``forcegate screen`` against a server on a real port, killed and misused."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase.build import molecule
from ase.io import write
from typer.testing import CliRunner

from forcegate_client.cli.app import app
from forcegate_service.runtimes.fake import write_fake_model
from support.server_process import started

_COMMAND = [sys.executable, "-c", "from forcegate_client.cli.app import main; main()"]
SIZE = 600
NOBODY = "http://127.0.0.1:9"


def frames(path: Path, size: int) -> None:
    made = [molecule("H2O") for _ in range(size)]
    for number, frame in enumerate(made):
        frame.positions[0, 2] += 1e-4 * number
    write(path, made)


def energies(results: Path) -> tuple[list[int], np.ndarray]:
    with h5py.File(results) as file:
        return file["rows/index"][()].tolist(), file["rows/energy"][()]


def test_a_client_that_is_killed_at_random_loses_and_repeats_nothing(tmp_path: Path) -> None:
    write_fake_model(tmp_path / "models", "toy")
    library = tmp_path / "in.xyz"
    frames(library, SIZE)
    chance = random.Random(1)
    with started(tmp_path / "models") as (_, url):
        command = [*_COMMAND, "screen", str(library), "--url", url, "--model", "toy"]
        command += ["--part-size", "4", "--at-once", "2", "--out"]
        subprocess.run([*command, str(tmp_path / "whole")], check=True)
        parts = tmp_path / "killed" / "parts"
        known: dict[str, int] = {}
        for _ in range(3):
            process = subprocess.Popen([*command, str(tmp_path / "killed")])
            while process.poll() is None and len(list(parts.glob("0*.h5"))) <= len(known):
                time.sleep(0.005)
            time.sleep(chance.uniform(0.0, 0.2))
            process.kill()
            process.wait()
            now = {path.name: path.stat().st_ino for path in parts.glob("0*.h5")}
            assert known.items() <= now.items()
            known = now
        subprocess.run([*command, str(tmp_path / "killed")], check=True)
        now = {path.name: path.stat().st_ino for path in parts.glob("0*.h5")}
        assert known.items() <= now.items()
    whole, killed = (energies(tmp_path / name / "results.h5") for name in ("whole", "killed"))
    assert killed[0] == whole[0] == list(range(SIZE))
    assert np.allclose(killed[1], whole[1], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.xyz", "--out", "out"], "no file none.xyz"),
        (["in.xyz", "--out", "out", "--where", "enrgy < 0"], "the name 'enrgy'"),
        (["in.xyz", "--out", "out", "--shard", "9/8"], "the shard '9/8'"),
        (["in.xyz", "--out", ".", "--url", NOBODY], "which holds something else"),
        (["in.xyz", "--out", "out", "--url", NOBODY, "--patience", "0"], "no answer from"),
    ],
)
def test_wrong_input_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    frames(Path("in.xyz"), 2)
    result = CliRunner().invoke(app, ["screen", *arguments])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_merging_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["merge", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds no manifest" in result.stderr
