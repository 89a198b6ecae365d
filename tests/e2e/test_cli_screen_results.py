"""What a screening says and leaves: verdicts, failures by name, summaries, nothing half-done."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import write
from typer.testing import CliRunner, Result

from forcegate_client.cli.app import app
from forcegate_client.screening.summary_plot import shown_range
from forcegate_client.testing import FakeServer

FORCEGATE = str(Path(sys.executable).with_name("forcegate"))

pytestmark = pytest.mark.usefixtures("beside_server")


def screen(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["screen", *arguments])


def summary(folder: str = "out") -> dict[str, object]:
    return dict(json.loads(Path(folder, "summary.json").read_text()))


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_model_that_is_rejected_for_it_is_told_everywhere(server: FakeServer) -> None:
    server.approval = {"screening": "rejected", "relax": "approved"}
    write("a.xyz", molecule("H2O"))
    done = screen("a.xyz", "--out", "out")
    assert done.exit_code == 0
    assert "rejected" in done.stderr
    assert "rejected" in Path("out/summary.md").read_text()
    assert summary()["verdict"] == {"screening": "rejected"}
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert manifest["judged"]["status"]["screening"] == "rejected"


def test_a_verdict_that_changes_does_not_stop_a_screening(server: FakeServer) -> None:
    write("a.xyz", molecule("H2O"))
    assert "screening" not in screen("a.xyz", "--out", "out").stderr
    server.approval = {"screening": "rejected"}
    again = screen("a.xyz", "--out", "out")
    assert "nothing to do: the results of 1 structure are there" in again.stderr
    assert summary()["verdict"] == {"screening": "rejected"}


def test_failures_are_named_with_file_label_smiles_and_reason() -> None:
    Path("a.smi").write_text("CCO ethanol\nC[Si](C)(C)C silane\nnonsense bad\n")
    write("b.xyz", [molecule("H2O"), molecule("SiH4")])
    done = screen("a.smi", "b.xyz", "--out", "out", "--export", "csv")
    assert done.exit_code == 3
    assert "3 structures failed" in done.stderr
    assert "out/failures.csv" in done.stderr
    silane, bad, other = rows("out/failures.csv")
    assert [silane["index"], silane["source"], silane["record"]] == ["1", "a.smi", "1"]
    assert [silane["label"], silane["smiles"]] == ["silane", "C[Si](C)(C)C"]
    assert silane["code"] == "element_unsupported"
    assert "structure 1" in silane["detail"]
    assert bad["code"] == "smiles_invalid"
    assert [other["index"], other["source"], other["record"]] == ["4", "b.xyz", "1"]
    ethanol, water = rows("out/selected.csv")
    assert [ethanol["smiles"], ethanol["source"], ethanol["record"]] == ["CCO", "a.smi", "0"]
    assert [water["index"], water["source"], water["record"]] == ["3", "b.xyz", "0"]


def test_one_structure_is_not_structures() -> None:
    write("a.xyz", [molecule("SiH4"), molecule("H2O")])
    done = screen("a.xyz", "--out", "out")
    assert "1 structure failed" in done.stderr
    Path("out/failures.csv").unlink()


def test_novelty_and_periodicity_are_remarks_of_rows_and_summary(server: FakeServer) -> None:
    server.novelty = 614.9
    hydroxide = molecule("OH")
    hydroxide.info["charge"] = -1
    write("a.extxyz", [molecule("H2O"), bulk("C", "diamond", a=3.57), hydroxide])
    done = screen("a.extxyz", "--out", "out", "--export", "csv")
    assert "3 structures with remarks" in done.stderr
    assert "likely to be wrong" in done.stderr
    found = summary()
    assert (found["novel"], found["novelty_limit"], found["warned"]) == (3, 5.0, 3)
    water, diamond, ion = (row["remarks"] for row in rows("out/selected.csv"))
    assert "likely to be wrong" in water
    assert "periodic" not in water
    assert "charged" not in water + diamond
    assert "charged: this model is not validated for ions" in ion
    assert "periodic: this model is not validated" in diamond
    assert "likely to be wrong" in Path("out/summary.md").read_text()


def test_the_summary_has_units_and_its_plot_is_of_most_values() -> None:
    write("a.xyz", [molecule("H2O"), molecule("CH4")])
    screen("a.xyz", "--out", "out")
    assert summary()["columns"]["max_force"]["unit"] == "eV/Å"  # type: ignore[index]
    assert "| max_force | eV/Å |" in Path("out/summary.md").read_text()
    assert Path("out/summary.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("size", [10, 10_000])
def test_one_outlier_does_not_make_a_histogram_a_bar(size: int) -> None:
    values = np.append(np.random.default_rng(0).normal(1.0, 0.1, size), [1e9])
    low, high = shown_range(values)
    assert 0.5 < low < high < 1.5
    assert shown_range(np.array([2.0, 2.0])) == (1.5, 2.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.xyz", "--out", "deep/out"), "no file none.xyz"),
        (("a.xyz", "--out", "deep/out", "--model", "x", "--version", "9"), "version 9"),
        (("a.xyz", "--out", "file/out"), "file"),
    ],
)
def test_a_start_that_fails_leaves_no_folder(arguments: tuple[str, ...], message: str) -> None:
    write("a.xyz", molecule("H2O"))
    Path("file").write_text("")
    done = screen(*arguments)
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert message in line
    assert sorted(path.name for path in Path().iterdir()) == ["a.xyz", "file"]


@pytest.mark.parametrize("most", [6_000, 30_000, 120_000])
def test_a_full_disk_costs_one_line_and_the_same_command_goes_on(most: int) -> None:
    frames = [molecule("CH3CH2OH") for _ in range(400)]
    write("a.xyz", frames)
    command = [FORCEGATE, "screen", "a.xyz", "--out", "out", "--part-size", "50", "--keep-forces"]
    full = subprocess.run(
        command,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
        timeout=120,
    )
    assert full.returncode == 1
    (line,) = full.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert "cannot be written (File too large)" in line
    assert list(Path().rglob("*.tmp")) == []
    done = screen(*command[2:])
    assert done.exit_code == 0, done.stderr
    with h5py.File("out/results.h5") as file:
        assert file["rows/index"][()].tolist() == list(range(400))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_screening_says_what_is_kept(server: FakeServer, number: int) -> None:
    write("a.xyz", [molecule("H2O") for _ in range(400)])

    def slow(request: object) -> object:
        time.sleep(0.05)
        server.script.append(slow)  # type: ignore[arg-type]
        return server.answer(request)  # type: ignore[arg-type]

    server.script = [slow]  # type: ignore[list-item]
    command = [FORCEGATE, "screen", "a.xyz", "--out", "out", "--part-size", "2", "--at-once", "1"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60.0
    while len(list(Path().glob("out/parts/*.h5"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "of 400 structures kept in out; the same command goes on" in stderr
    server.script = []
    assert screen(*command[2:]).exit_code == 0
