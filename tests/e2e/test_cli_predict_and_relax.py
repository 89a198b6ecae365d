"""``forcegate predict``, ``relax`` and ``models`` against a server on a real port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLength
from ase.io import read, write
from typer.testing import CliRunner, Result

from forcegate_client.cli.app import app
from forcegate_client.errors import Unauthorized
from forcegate_client.testing import FakeServer, problem, serve

ENERGIES = ("energy", "free_energy")
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture(autouse=True)
def url(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("COLUMNS", "200")
    with serve(server) as address:
        monkeypatch.setenv("FORCEGATE_URL", address)
        yield address


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("two.xyz", [molecule("H2O"), molecule("CH4")])
    write("strange.extxyz", [molecule("H2O"), molecule("SiH4"), molecule("CH4")])
    return tmp_path


def forcegate(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def assert_one_line_error(result: Result, message: str) -> None:
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]


def test_predict_shows_every_frame_and_writes_them() -> None:
    result = forcegate("predict", "two.xyz", "--out", "out.extxyz")
    assert result.exit_code == 0, result.output
    assert "H2O" in result.stdout
    assert "CH4" in result.stdout
    frames = read("out.extxyz", ":")
    assert len(frames) == 2
    assert frames[0].get_forces().shape == (3, 3)
    assert frames[0].info["energy_uncertainty"] == 0.01
    assert f"{frames[1].get_potential_energy():.6f}" in result.stdout


def test_one_bad_frame_does_not_fail_the_rest() -> None:
    result = forcegate("predict", "strange.extxyz", "--out", "out.extxyz")
    assert result.exit_code == 3
    assert "element 14" in result.stderr
    frames = read("out.extxyz", ":")
    assert [frame.info.get("forcegate_problem") for frame in frames] == [
        None,
        "element_unsupported",
        None,
    ]


def test_frames_of_a_crystal_get_their_stress() -> None:
    write("crystal.cif", bulk("C", "diamond", a=3.57))
    assert forcegate("predict", "crystal.cif", "--out", "out.extxyz").exit_code == 0
    assert read("out.extxyz").get_stress().shape == (6,)


def test_many_frames_are_predicted_in_several_requests_in_order(server: FakeServer) -> None:
    lengths = np.linspace(1.0, 2.0, 300)
    write("scan.extxyz", [Atoms("H2", positions=[[0, 0, 0], [0, 0, x]]) for x in lengths])
    result = forcegate("predict", "scan.extxyz", "--out", "out.extxyz")
    assert result.exit_code == 0
    energies = [frame.get_potential_energy() for frame in read("out.extxyz", ":")]
    assert energies == pytest.approx((10.0 * (lengths - 1.5) ** 2).tolist(), abs=1e-6)
    assert len(server.predictions) == 3
    assert "250 more frames" in result.stderr


def test_what_exists_is_only_replaced_when_told() -> None:
    Path("out.extxyz").write_text("precious")
    assert_one_line_error(forcegate("predict", "two.xyz", "--out", "out.extxyz"), "--overwrite")
    assert Path("out.extxyz").read_text() == "precious"
    assert forcegate("predict", "two.xyz", "--out", "out.extxyz", "--overwrite").exit_code == 0
    assert len(read("out.extxyz", ":")) == 2


@pytest.mark.parametrize("command", ["predict", "relax", "md"])
def test_bad_files_are_one_line_without_traceback(command: str) -> None:
    Path("junk.xyz").write_text("hello\n")
    Path("empty.xyz").write_text("")
    Path("what.unknown").write_text("?")
    assert_one_line_error(forcegate(command, "missing.xyz"), "no file missing.xyz")
    assert_one_line_error(forcegate(command, "junk.xyz"), "junk.xyz holds no structure")
    assert_one_line_error(forcegate(command, "empty.xyz"), "empty.xyz")
    assert_one_line_error(forcegate(command, "what.unknown"), "what.unknown")


def test_a_wrong_url_and_a_missing_key_are_one_line(server: FakeServer) -> None:
    assert_one_line_error(forcegate("predict", "two.xyz", "--url", "gpu-box:8000"), "gpu-box:8000")
    server.script = [problem(Unauthorized("no key", action="set FORCEGATE_API_KEY"))]
    assert_one_line_error(forcegate("predict", "two.xyz"), "set FORCEGATE_API_KEY")


def test_relax_writes_the_minimum_and_tells_the_steps() -> None:
    result = forcegate("relax", "two.xyz", "--fmax", "0.001")
    assert result.exit_code == 0, result.output
    water, _ = read("two_relaxed.extxyz", ":")
    assert water.get_all_distances()[np.triu_indices(3, 1)] == pytest.approx([1.5] * 3, abs=1e-3)
    assert np.linalg.norm(water.get_forces(), axis=1).max() < 0.001


def test_relax_with_fire_finds_the_same_minimum() -> None:
    assert forcegate("relax", "two.xyz", "--optimizer", "fire", "--out", "f.extxyz").exit_code == 0
    assert read("f.extxyz", "0").get_potential_energy() == pytest.approx(0.0, abs=1e-4)


def test_frames_are_relaxed_together_and_written_in_the_order_of_the_file(
    server: FakeServer,
) -> None:
    names = ["C6H6", "H2O", "CH3CH2OH", "CH4"]
    write("many.extxyz", [molecule(name) for name in names])
    assert forcegate("relax", "many.extxyz").exit_code == 0
    frames = read("many_relaxed.extxyz", ":")
    assert [frame.get_chemical_formula() for frame in frames] == [
        molecule(name).get_chemical_formula() for name in names
    ]
    assert max(len(asked.structures) for asked in server.predictions) > 1


def test_lbfgs_is_one_frame_at_a_time(server: FakeServer) -> None:
    assert forcegate("relax", "two.xyz", "--optimizer", "lbfgs").exit_code == 0
    steps = [asked for asked in server.predictions if "forces" in asked.properties]
    assert {len(asked.structures) for asked in steps} == {1}


def test_a_relaxation_that_does_not_converge_says_so() -> None:
    result = forcegate("relax", "two.xyz", "--steps", "1")
    assert result.exit_code == 3
    assert "not converged" in result.stdout


def test_relax_keeps_the_other_frames_when_one_is_refused() -> None:
    result = forcegate("relax", "strange.extxyz")
    assert result.exit_code == 3
    assert "element 14" in result.stdout
    assert len(read("strange_relaxed.extxyz", ":")) == 3


def test_models_lists_what_is_served() -> None:
    result = forcegate("models")
    assert result.exit_code == 0
    assert "springs" in result.stdout
    assert "md: approved" in result.stdout


@pytest.mark.parametrize("name", ["a.traj", "a.extxyz", "a.json"])
@pytest.mark.parametrize("command", ["predict", "relax"])
def test_energies_of_earlier_work_do_not_come_back(command: str, name: str) -> None:
    old = molecule("H2O")
    old.info |= {"energy": -1234.5, "free_energy": -1234.5, "note": "mine"}
    if name == "a.json":
        old.calc = SinglePointCalculator(old, **{n: old.info.pop(n) for n in ENERGIES})
    write(name, old)
    result = forcegate(command, name, "--out", "new.extxyz")
    assert result.exit_code == 0, result.output
    new = read("new.extxyz")
    assert new.get_potential_energy() > -1000.0
    assert new.get_potential_energy(force_consistent=True) == new.get_potential_energy()


def test_a_problem_of_yesterday_is_none_today() -> None:
    write("a.extxyz", molecule("SiH4"))
    assert forcegate("predict", "a.extxyz", "--out", "b.extxyz").exit_code == 3
    mended = read("b.extxyz")
    assert mended.info["forcegate_problem"] == "element_unsupported"
    mended.symbols[0] = "C"
    write("c.extxyz", mended)
    result = forcegate("predict", "c.extxyz", "--out", "d.extxyz")
    assert result.exit_code == 0, result.output
    assert not {"forcegate_problem", "forcegate_detail"} & read("d.extxyz").info.keys()


@pytest.mark.parametrize("command", ["predict", "relax"])
def test_a_charge_that_is_no_number_costs_its_own_frame(command: str) -> None:
    frames = [molecule("H2O") for _ in range(3)]
    frames[1].info["charge"] = "cation"
    write("a.extxyz", frames)
    result = forcegate(command, "a.extxyz", "--out", "b.extxyz")
    assert result.exit_code == 3
    assert "cation" in result.output
    assert [frame.info["forcegate_index"] for frame in read("b.extxyz", ":")] == [0, 2]


def test_what_the_output_cannot_hold_of_a_constraint_is_named_in_it() -> None:
    frame = molecule("CH3OH")
    frame.set_constraint([FixAtoms([0]), FixBondLength(0, 1)])
    write("a.traj", frame)
    assert forcegate("predict", "a.traj", "--out", "b.extxyz").exit_code == 0
    written = read("b.extxyz")
    assert written.info["forcegate_dropped"].startswith("FixBondLength")
    assert written.constraints[0].get_indices().tolist() == [0]


def test_an_empty_text_does_not_swallow_what_follows_it() -> None:
    frame = molecule("H2O")
    frame.info |= {"note": "", "temperature": 300}
    write("a.traj", frame)
    assert forcegate("predict", "a.traj", "--out", "b.extxyz").exit_code == 0
    assert read("b.extxyz").info["temperature"] == 300
