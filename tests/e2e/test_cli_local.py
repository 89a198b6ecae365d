"""Every command with ``--local`` leaves what it leaves with a gateway, and needs none."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.io import read, write
from typer.testing import CliRunner, Result

from forcegate_client.cli.app import app
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.engine import NEUTRAL
from support.local_models import STUDENT, write_repository

# Files round to eight digits.
ATOL = 1e-7
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def url(repository: Path) -> Iterator[str]:
    with running_gateway(Settings(model_repository=repository, runtime="embedded")) as address:
        yield address


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    # Whoever computes here asks nobody.
    monkeypatch.setenv("FORCEGATE_URL", NOBODY)
    rng = np.random.default_rng(0)
    structures = [molecule(name) for name in ("H2O", "CH3OH", "C2H6", "CH3COOH")]
    for atoms in structures:
        atoms.rattle(0.05, rng=rng)
    held = structures[1].copy()
    held.set_constraint(FixAtoms([0]))
    crystal = structures[0].copy()
    crystal.set_cell([5.0, 5.5, 6.0])
    crystal.pbc = True
    ion = structures[0].copy()
    ion.info["charge"] = -1
    write("mixed.extxyz", [*structures, held, crystal, molecule("AlCl3"), ion, molecule("CH3")])
    write("good.extxyz", [*structures, crystal])
    write("one.extxyz", structures[3])
    return tmp_path


def forcegate(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in arguments])


def both(repository: Path, url: str, *command: str) -> tuple[Result, Result]:
    """The command here and by the gateway, with ``{out}`` being ``here`` and ``there``."""
    results = []
    for out, place in (
        ("here", ("--local", "--repository", repository)),
        ("there", ("--url", url)),
    ):
        words = [word.format(out=out) for word in command]
        results.append(forcegate(*words, *place, "--model", STUDENT))
    here, there = results
    assert here.exit_code == there.exit_code, here.output + there.output
    return here, there


def assert_same_frames(here: str, there: str, atol: float = ATOL) -> None:
    mine, theirs = read(here, ":"), read(there, ":")
    assert len(mine) == len(theirs)
    for one, other in zip(mine, theirs, strict=True):
        assert one.info.keys() == other.info.keys()
        for key, value in one.info.items():
            assert_alike(value, other.info[key], atol)
        np.testing.assert_allclose(one.positions, other.positions, atol=atol)
        assert (one.calc is None) == (other.calc is None)
        if one.calc is not None:
            np.testing.assert_allclose(one.get_forces(), other.get_forces(), atol=atol)


def assert_alike(one: Any, other: Any, atol: float) -> None:
    if isinstance(one, float):
        assert one == pytest.approx(other, abs=atol)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_alike(value, other[key], atol)
    elif isinstance(one, list):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_alike(mine, theirs, atol)
    else:
        assert np.array_equal(one, other) or one == other


def test_predictions_and_refusals_are_those_of_the_gateway(repository: Path, url: str) -> None:
    here, there = both(repository, url, "predict", "mixed.extxyz", "--out", "{out}.extxyz")
    assert here.exit_code == 3
    assert here.stderr.replace("here", "there") == there.stderr
    assert_same_frames("here.extxyz", "there.extxyz")
    here, there = both(repository, url, "predict", "mixed.extxyz", "--json")
    assert_alike(json.loads(here.stdout), json.loads(there.stdout), ATOL)


@pytest.mark.parametrize("optimizer", [[], ["--optimizer", "lbfgs"]])
def test_relaxed_structures_are_those_of_the_gateway(
    repository: Path, url: str, optimizer: list[str]
) -> None:
    command = ("relax", "mixed.extxyz", "--out", "{out}.extxyz", "--fmax", "0.05", *optimizer)
    both(repository, url, *command)
    # Steps may differ where a force is as large as the limit; here they do not.
    assert_same_frames("here.extxyz", "there.extxyz", 1e-5)


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_dynamics_leaves_the_same_files(repository: Path, url: str, ensemble: str) -> None:
    times = ("--time-ps", "0.05", "--equilibrate-ps", "0.01", "--ensemble", ensemble)
    both(repository, url, "md", "one.extxyz", "--out", "{out}", *times)
    mine, theirs = (sorted(p.name for p in Path(out).iterdir()) for out in ("here", "there"))
    assert mine == theirs
    one, other = (json.loads(Path(out, "summary.json").read_text()) for out in ("here", "there"))
    assert one.keys() == other.keys()
    for name in ("digest", "version", "n_dof", "simulated_ps", "remarks", "novelty_limit"):
        assert one[name] == other[name], name
    rows = [Path(out, "log.csv").read_text().splitlines() for out in ("here", "there")]
    assert len(rows[0]) == len(rows[1])
    if ensemble == "nve":
        # The thermostat's noise is another one.
        last = [np.array(lines[-1].split(","), dtype=float) for lines in rows]
        np.testing.assert_allclose(last[0][:4], last[1][:4], atol=1e-6)


NOW = ("--no-relax", "--equilibrate-ps", "0", "--timestep-fs", "0.5")


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_a_run_in_two_pieces_is_the_run_in_one(repository: Path, ensemble: str) -> None:
    start = (
        "md",
        "one.extxyz",
        *NOW,
        "--ensemble",
        ensemble,
        "--local",
        "--repository",
        repository,
    )
    start = (*start, "--model", STUDENT)
    assert forcegate(*start, "--time-ps", 0.1, "--out", "whole").exit_code == 0
    # Neither a line of the log nor a frame is due where it ends.
    assert forcegate(*start, "--time-ps", 0.0435, "--out", "pieces").exit_code == 0
    here = ("--local", "--repository", repository)
    again = forcegate("md", "pieces", "--continue", "--time-ps", 0.1, *here)
    assert again.exit_code == 0, again.output
    assert_same_runs("whole", "pieces")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_stopped_goes_on(repository: Path, number: signal.Signals) -> None:
    here = ("--local", "--repository", str(repository), "--model", STUDENT)
    settings = ("md", "one.extxyz", *NOW, *here, "--frame-every", "7", "--log-every", "3")
    command = [Path(sys.executable).with_name("forcegate"), *settings, "--time-ps", "1000"]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    log, deadline = Path("one_md/log.csv"), time.monotonic() + 60.0
    while not (log.is_file() and log.read_text().count("\n") > 60):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(number)
    _, stderr = run.communicate(timeout=60)
    if number is signal.SIGINT:
        assert run.returncode == 128 + number, stderr
        assert "--continue" in stderr
    time_ps = 0.03 + float(log.read_text().splitlines()[-1].split(",")[0])
    done = forcegate("md", "one.extxyz", "--continue", "--time-ps", f"{time_ps:.3f}", *here[:3])
    assert done.exit_code == 0, done.output
    whole = forcegate(*settings, "--time-ps", f"{time_ps:.3f}", "--out", "whole")
    assert whole.exit_code == 0, whole.output
    assert_same_runs("whole", "one_md")


def assert_same_runs(one: str, other: str) -> None:
    assert Path(one, "log.csv").read_text() == Path(other, "log.csv").read_text()
    mine, theirs = (read(f"{name}/trajectory.traj", ":") for name in (one, other))
    assert len(mine) == len(theirs)
    last, end = (read(f"{name}/final.extxyz") for name in (one, other))
    assert np.array_equal(last.positions, end.positions)
    assert np.array_equal(last.get_momenta(), end.get_momenta())


def test_atoms_that_are_held_stay_and_the_run_is_that_of_ase(repository: Path) -> None:
    atoms = read("one.extxyz")
    atoms.set_constraint(FixAtoms([0, 1]))
    write("held.extxyz", atoms)
    here = ("--local", "--repository", repository, "--model", STUDENT, "--time-ps", 0.01)
    assert forcegate("md", "held.extxyz", *NOW, *here).exit_code == 0
    end = read("held_md/final.extxyz")
    assert np.array_equal(end.positions[:2], atoms.positions[:2])
    assert not np.array_equal(end.positions[2:], atoms.positions[2:])


@pytest.mark.parametrize("task", ["single-point", "relax"])
def test_a_screening_has_the_same_results(repository: Path, url: str, task: str) -> None:
    command = ("screen", "mixed.extxyz", "--out", "{out}", "--task", task, "--part-size", "3")
    both(repository, url, *command)
    with h5py.File("here/results.h5") as mine, h5py.File("there/results.h5") as theirs:
        assert list(mine["rows"]) == list(theirs["rows"])
        for name, column in mine["rows"].items():
            values, others = column[()], theirs["rows"][name][()]
            if values.dtype.kind == "f":
                np.testing.assert_allclose(values, others, atol=1e-5, err_msg=name)
            else:
                assert np.array_equal(values, others), name
        for name in mine["failures"]:
            assert np.array_equal(mine["failures"][name][()], theirs["failures"][name][()]), name
    # What began here goes on at a gateway, and the other way round: the weights are the same.
    again = forcegate("screen", "mixed.extxyz", "--out", "here", "--task", task, "--part-size", 3,
                      "--url", url, "--model", STUDENT)  # fmt: skip
    assert "nothing to do" in again.output


def test_places_that_exclude_each_other_are_refused_in_words(repository: Path) -> None:
    one = ("predict", "one.extxyz")
    assert "exclude each other" in forcegate(*one, "--local", "--url", NOBODY).output
    assert "goes with --local" in forcegate(*one, "--repository", repository).output
    refused = forcegate(*one, "--local", "--repository", repository, "--model", "huge")
    assert refused.exit_code == 1
    assert f"expected one of charged, neutral, {STUDENT}, strict" in refused.output
    nowhere = forcegate(*one, "--local", "--repository", "nowhere")
    assert "nowhere: no such folder" in nowhere.output


def test_a_model_that_validation_rejected_is_told_of(repository: Path) -> None:
    here = ("--local", "--repository", repository, "--model", STUDENT)
    assert (
        "rejected for screening" in forcegate("screen", "good.extxyz", "--out", "s", *here).output
    )


def test_models_are_listed(repository: Path) -> None:
    listed = json.loads(forcegate("models", "--local", "--repository", repository, "--json").stdout)
    assert [entry["name"] for entry in listed["models"]] == [
        "charged",
        "neutral",
        STUDENT,
        "strict",
    ]


def test_an_atom_without_a_server_is_an_atom(repository: Path) -> None:
    write("atom.extxyz", Atoms("O"))
    here = ("--local", "--repository", repository, "--model", NEUTRAL)
    assert forcegate("predict", "atom.extxyz", *here).exit_code == 0
    assert "nothing to simulate" in forcegate("md", "atom.extxyz", *here).output
