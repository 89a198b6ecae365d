"""``forcegate md`` runs, records and tells the truth about what it did."""

from __future__ import annotations

import csv
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from ase.build import bulk, molecule
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


def summary(folder: str = "water_md") -> dict[str, object]:
    return dict(json.loads(Path(folder, "summary.json").read_text()))


def log(folder: str = "water_md") -> list[dict[str, str]]:
    with Path(folder, "log.csv").open() as file:
        return list(csv.DictReader(file))


NOW = ("--equilibrate-ps", "0", "--timestep-fs", "0.25")


def test_too_short_a_run_has_no_verdict_and_a_long_one_has() -> None:
    short = md("water.xyz", *NOW, "--time-ps", "0.1")
    assert "too short to tell (limit 0.02)" in short.stdout
    assert summary()["drift_verdict"] == "too short to tell"
    long = md("water.xyz", *NOW, "--time-ps", "1.5", "--frame-every", "1000", "--out", "long")
    assert summary("long")["drift_verdict"] in ("pass", "fail")
    assert f"{summary('long')['drift_verdict']} (limit 0.02)" in long.stdout
    assert summary("long")["drift_limit_mev_per_atom_per_ps"] == 0.02


def test_novelty_along_the_run_and_a_crystal_are_told(server: FakeServer) -> None:
    server.novelty = 614.9
    crystal = bulk("C", "diamond", a=3.57, cubic=True)
    write("c.extxyz", crystal)
    done = md("c.extxyz", "--no-relax", *NOW, "--time-ps", "0.002")
    assert done.exit_code == 0, done.output
    assert "likely to be wrong" in done.stderr
    assert "periodic: this model is not validated" in done.stderr
    assert summary("c_md")["max_novelty"] == 614.9
    assert summary("c_md")["novelty_limit"] == 5.0


def test_only_the_verdict_for_dynamics_is_told(server: FakeServer) -> None:
    server.approval = {"md": "approved", "screening": "rejected"}
    assert "screening" not in md("water.xyz", *NOW, "--time-ps", "0.01").stderr


def test_nvt_is_a_thermostat_and_constant_pressure_is_refused_in_words() -> None:
    assert md("water.xyz", *NOW, "--time-ps", "0.01", "--ensemble", "nvt").exit_code == 0
    assert summary()["ensemble"] == "langevin"
    refused = md("water.xyz", "--ensemble", "npt", "--out", "npt")
    assert refused.exit_code == 1
    assert "stress" in refused.stderr
    assert not Path("npt").exists()


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_a_run_in_two_pieces_is_the_run_in_one(ensemble: str) -> None:
    start = ("--ensemble", ensemble, *NOW, "--also", "dcd", "--also", "extxyz")
    assert md("water.xyz", *start, "--time-ps", "0.1", "--out", "whole").exit_code == 0
    assert md("water.xyz", *start, "--time-ps", "0.043", "--out", "pieces").exit_code == 0
    again = md("pieces", "--continue", "--time-ps", "0.1")
    assert again.exit_code == 0, again.output
    whole, pieces = (read(f"{name}/final.extxyz") for name in ("whole", "pieces"))
    assert np.array_equal(whole.positions, pieces.positions)
    assert np.array_equal(whole.get_momenta(), pieces.get_momenta())
    assert log("whole") == log("pieces")
    for name in ("trajectory.traj", "trajectory.extxyz"):
        a, b = (read(f"{folder}/{name}", ":") for folder in ("whole", "pieces"))
        assert len(a) == len(b) == 5
        assert np.array_equal(a[-1].positions, b[-1].positions)
    a_dcd, b_dcd = (Path(name, "trajectory.dcd").read_bytes() for name in ("whole", "pieces"))
    assert a_dcd == b_dcd
    assert summary("whole")["simulated_ps"] == summary("pieces")["simulated_ps"]
    assert "nothing to do" in md("pieces", "--continue").stdout


def test_a_run_goes_on_as_it_began() -> None:
    assert md("water.xyz", *NOW, "--time-ps", "0.02").exit_code == 0
    other = md("water.xyz", "--continue", "--time-ps", "0.04", "--timestep-fs", "0.5")
    assert other.exit_code == 1
    assert "timestep_fs is 0.5 now and was 0.25" in other.stderr
    assert md("water.xyz", "--continue", "--out", "none").exit_code == 1


def test_velocities_of_the_input_are_kept_unless_others_are_asked_for() -> None:
    assert md("water.xyz", *NOW, "--time-ps", "0.05").exit_code == 0
    last = float(log()[-1]["kinetic_ev"])
    short = ("--time-ps", "0.01", "--timestep-fs", "0.25")
    kept = md("water_md/final.extxyz", *short, "--out", "kept")
    assert kept.exit_code == 0, kept.output
    assert float(log("kept")[0]["kinetic_ev"]) == pytest.approx(last, abs=1e-6)
    for out, others in (
        ("a", ("--velocities", "new")),
        ("b", ("--temperature", "500")),
    ):
        more = ("--no-relax", "--equilibrate-ps", "0")
        assert md("water_md/final.extxyz", *short, *more, *others, "--out", out).exit_code == 0
        assert abs(float(log(out)[0]["kinetic_ev"]) - last) > 1e-3
    assert md("water.xyz", "--velocities", "stored", "--out", "c").exit_code == 1


def test_a_dcd_file_is_read_by_another_reader() -> None:
    assert md("water.xyz", *NOW, "--time-ps", "0.1", "--also", "dcd").exit_code == 0
    ours = read("water_md/trajectory.traj", ":")
    theirs = read("water_md/trajectory.dcd", ":", format="cp2k-dcd", ref_atoms=ours[0])
    assert len(theirs) == len(ours) == 5
    for a, b in zip(ours, theirs, strict=True):
        assert np.allclose(a.positions, b.positions, atol=1e-5)


def test_a_run_that_replaces_another_does_not_cost_it_before_its_end(server: FakeServer) -> None:
    assert md("water.xyz", *NOW, "--time-ps", "0.02").exit_code == 0
    before = Path("water_md/log.csv").read_text()
    server.elements = frozenset({6})
    assert md("water.xyz", *NOW, "--time-ps", "0.02", "--overwrite").exit_code == 1
    assert Path("water_md/log.csv").read_text() == before
    server.elements = frozenset({1, 8})
    assert md("water.xyz", *NOW, "--time-ps", "0.01", "--overwrite").exit_code == 0
    assert Path("water_md/log.csv").read_text() != before
    assert not Path("water_md.before").exists()


def started(*arguments: str, most_bytes: int | None = None) -> subprocess.Popen[str]:
    def limits() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    return subprocess.Popen(
        [str(Path(sys.executable).with_name("forcegate")), "md", "water.xyz", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limits,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_was_stopped_goes_on(number: signal.Signals) -> None:
    settings = (*NOW, "--frame-every", "7", "--log-every", "3")
    run = started(*settings, "--time-ps", "1000")
    deadline = time.monotonic() + 60.0
    path = Path("water_md/log.csv")
    while not (path.is_file() and path.read_text().count("\n") > 20):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(number)
    _, stderr = run.communicate(timeout=60)
    if number is not signal.SIGKILL:
        assert run.returncode == 128 + number, stderr
        assert "--continue" in stderr
        assert summary()["interrupted"]
    time_ps = f"{0.03 + float(log()[-1]['time_ps']):.3f}"
    done = md("water.xyz", "--continue", "--time-ps", time_ps)
    assert done.exit_code == 0, done.output
    assert md("water.xyz", *settings, "--time-ps", time_ps, "--out", "whole").exit_code == 0
    assert log() == log("whole")
    a, b = (read(f"{name}/trajectory.traj", ":") for name in ("water_md", "whole"))
    assert len(a) == len(b)
    assert np.array_equal(a[-1].positions, b[-1].positions)


def test_a_full_disk_ends_a_run_in_one_line_and_it_goes_on() -> None:
    run = started(*NOW, "--time-ps", "0.5", "--frame-every", "10", most_bytes=9_000)
    _, stderr = run.communicate(timeout=120)
    assert run.returncode == 1
    (line,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert "File too large" in line
    assert "--continue" in line
    assert "Traceback" not in stderr
    done = md("water.xyz", "--continue")
    assert done.exit_code == 0, done.output
    whole = (*NOW, "--time-ps", "0.5", "--frame-every", "10", "--out", "whole")
    assert md("water.xyz", *whole).exit_code == 0
    assert log() == log("whole")
    assert len(read("water_md/trajectory.traj", ":")) == 201


def test_a_run_that_is_stopped_before_it_records_leaves_nothing(server: FakeServer) -> None:
    run = started("--no-relax", "--equilibrate-ps", "1000")
    deadline = time.monotonic() + 60.0
    while len(server.predictions) < 30 and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "nothing is kept" in stderr
    assert not Path("water_md").exists()
