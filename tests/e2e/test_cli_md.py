"""``forcegate md`` runs, records and tells the truth about what it did."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.io import read, write
from typer.testing import CliRunner, Result

from forcegate_client.cli.app import app
from forcegate_client.testing import FakeServer, serve

SHORT = ("--time-ps", "0.1", "--equilibrate-ps", "0.05", "--timestep-fs", "0.25")


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture(autouse=True)
def url(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write("water.xyz", molecule("H2O"))
    with serve(server) as address:
        monkeypatch.setenv("FORCEGATE_URL", address)
        yield address


def md(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["md", *arguments])


def test_an_nve_run_leaves_trajectory_log_plot_and_summary() -> None:
    result = md("water.xyz", *SHORT)
    assert result.exit_code == 0, result.output
    with Path("water_md/log.csv").open() as log:
        rows = list(csv.DictReader(log))
    assert len(rows) == 41
    total = np.array([float(row["total_ev"]) for row in rows])
    assert np.ptp(total) < 1e-3
    assert len(read("water_md/trajectory.traj", ":")) == 5
    assert read("water_md/final.extxyz").get_momenta().any()
    assert Path("water_md/run.png").read_bytes().startswith(b"\x89PNG")
    summary = json.loads(Path("water_md/summary.json").read_text())
    assert summary["digest"] == "sha256:one"
    assert summary["simulated_ps"] == pytest.approx(0.1)
    assert summary["drift_standard_error_mev_per_atom_per_ps"] > 0.0
    assert f"{summary['drift_mev_per_atom_per_ps']:+.4f}" in result.stdout


def test_the_same_seed_gives_the_same_trajectory() -> None:
    for out, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        times = ("--time-ps", "0.02", "--equilibrate-ps", "0.01")
        assert md("water.xyz", *times, "--seed", seed, "--out", out).exit_code == 0
    a, b, c = (read(f"{out}/final.extxyz").positions for out in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_langevin_run_reports_no_drift_and_counts_all_degrees_of_freedom() -> None:
    result = md("water.xyz", "--ensemble", "langevin", *SHORT)
    assert result.exit_code == 0, result.output
    summary = json.loads(Path("water_md/summary.json").read_text())
    assert summary["drift_mev_per_atom_per_ps"] is None
    assert summary["n_dof"] == 9
    assert "drift" not in result.stdout


def test_results_are_replaced_only_when_told_and_foreign_folders_never() -> None:
    assert md("water.xyz", *SHORT).exit_code == 0
    assert md("water.xyz", *SHORT).exit_code == 1
    assert md("water.xyz", *SHORT, "--overwrite").exit_code == 0
    Path("home").mkdir()
    Path("home/thesis.tex").write_text("precious")
    result = md("water.xyz", *SHORT, "--out", "home", "--overwrite")
    assert result.exit_code == 1
    assert Path("home/thesis.tex").read_text() == "precious"


def test_an_element_that_the_model_does_not_know_leaves_nothing_behind() -> None:
    write("silane.xyz", molecule("SiH4"))
    result = md("silane.xyz", *SHORT)
    assert result.exit_code == 1
    assert "element 14" in result.stderr
    assert not Path("silane_md").exists()


def test_one_atom_is_refused_in_one_line() -> None:
    Path("atom.xyz").write_text("1\n\nH 0 0 0\n")
    result = md("atom.xyz", *SHORT)
    assert result.exit_code == 1
    assert "no internal motion" in result.stderr


def test_atoms_that_are_all_held_are_told_apart_from_one_atom_and_leave_nothing_behind() -> None:
    water = molecule("H2O")
    water.set_constraint(FixAtoms(range(3)))
    write("held.extxyz", water)
    result = md("held.extxyz", *SHORT)
    assert result.exit_code == 1
    assert "constraints" in result.stderr
    assert "FixAtoms" in result.stderr
    assert not Path("held_md").exists()


@pytest.mark.parametrize("ensemble", ["nve", "langevin"])
def test_atoms_that_are_held_stay_and_isotopes_keep_their_mass(ensemble: str) -> None:
    ethanol = molecule("CH3CH2OH")
    ethanol.set_constraint(FixAtoms([0, 1]))
    ethanol.set_masses([mass + (mass < 2.0) for mass in ethanol.get_masses()])
    ethanol.info["energy"] = -1234.5
    write("in.traj", ethanol)
    times = ("--time-ps", "0.02", "--equilibrate-ps", "0.01", "--frame-every", "10")
    result = md("in.traj", *times, "--ensemble", ensemble, "--out", "out")
    assert result.exit_code == 0, result.output
    for last in (read("out/final.extxyz"), read("out/trajectory.traj")):
        moved = np.abs(last.positions - ethanol.positions).max(axis=1)
        assert np.allclose(moved[:2], 0.0, atol=1e-8)
        assert (moved[2:] > 0.0).all()
        assert np.allclose(last.get_masses(), ethanol.get_masses())
        assert last.constraints[0].get_indices().tolist() == [0, 1]
        assert last.info.get("energy") is None


def test_a_run_that_blows_up_keeps_what_came_before() -> None:
    result = md("water.xyz", "--time-ps", "3", "--equilibrate-ps", "0", "--timestep-fs", "14")
    assert result.exit_code == 3, result.output
    assert "ended early" in result.stderr
    summary = json.loads(Path("water_md/summary.json").read_text())
    assert summary["trouble"]
    assert Path("water_md/run.png").is_file()


def test_a_model_that_changes_in_mid_run_ends_it_with_its_results_kept(server: FakeServer) -> None:
    def count(request: httpx.Request) -> httpx.Response:
        if len(server.requests) == 500:
            server.digests["1"] = "sha256:other"
        server.script.append(count)
        return server.answer(request)

    server.script = [count]
    result = md("water.xyz", "--time-ps", "1", "--equilibrate-ps", "0", "--timestep-fs", "0.25")
    assert result.exit_code == 3
    assert "sha256:other" in result.stderr
    assert 0.0 < json.loads(Path("water_md/summary.json").read_text())["simulated_ps"] < 1.0


def test_a_model_not_approved_for_dynamics_is_warned_about(server: FakeServer) -> None:
    server.approval = {"md": "rejected"}
    assert "rejected for molecular dynamics" in md("water.xyz", *SHORT).stderr


def test_ctrl_c_keeps_what_was_done(url: str) -> None:
    command = str(Path(sys.executable).with_name("forcegate"))
    run = subprocess.Popen(
        [command, "md", "water.xyz", "--time-ps", "1000", "--equilibrate-ps", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"FORCEGATE_URL": url},
    )
    log = Path("water_md/log.csv")
    deadline = time.monotonic() + 60.0
    while not (log.is_file() and log.read_text().count("\n") > 20):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == 130, stderr
    assert "what was computed is kept" in stderr
    summary = json.loads(Path("water_md/summary.json").read_text())
    assert summary["interrupted"]
    assert summary["simulated_ps"] > 0.05
    assert len(read("water_md/trajectory.traj", ":")) >= 1
