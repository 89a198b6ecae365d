"""What ``predict``, ``relax`` and ``models`` print and write: whole, readable again, and judged."""

from __future__ import annotations

import csv
import io
import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write
from typer.testing import CliRunner, Result

from forcegate_client.cli.app import app
from forcegate_client.testing import FakeServer

FORCEGATE = str(Path(sys.executable).with_name("forcegate"))

pytestmark = pytest.mark.usefixtures("beside_server")


def forcegate(*arguments: str) -> Result:
    """The command with its output in pipes."""
    return CliRunner().invoke(app, list(arguments))


def with_small_files(*arguments: str) -> tuple[int, str]:
    """Exit code and errors where no file may get beyond 20 kB, as on a disk that is nearly full."""
    done = subprocess.run(
        [FORCEGATE, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    return done.returncode, done.stderr


def is_one_error(code: int, stderr: str, message: str) -> bool:
    lines = [line for line in stderr.splitlines() if line.startswith("error: ")]
    return code == 1 and len(lines) == 1 and message in lines[0] and "Traceback" not in stderr


@pytest.mark.parametrize("columns", [None, "40", "80", "200"])
def test_numbers_are_whole_at_any_width(
    columns: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("r.xyz", molecule("CH3CH2OH"))
    document = json.loads(forcegate("predict", "r.xyz", "--json").stdout)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    done = forcegate("predict", "r.xyz")
    assert f" {document['frames'][0]['energy']:.6f} " in done.stdout
    assert "…" not in done.stdout


def test_remarks_are_whole_beside_the_table_or_below_it(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    remark = "an odd number of electrons, which " + "matters " * 12 + "here"
    server.warnings = [remark]
    write("two.xyz", [molecule("H2O"), molecule("CH4")])
    beside = forcegate("predict", "two.xyz").stdout
    monkeypatch.setenv("COLUMNS", "60")
    below = forcegate("predict", "two.xyz").stdout
    assert beside.count(remark) == 2
    assert below.splitlines()[-1] == f"[1] frame 0–1: {remark}"


def test_names_with_brackets_are_names() -> None:
    write("[bold]a[i].xyz", molecule("H2O"), format="xyz")
    done = forcegate("relax", "[bold]a[i].xyz")
    assert "written to [bold]a[i]_relaxed.extxyz" in done.stdout
    assert "[bold]none[i].xyz" in forcegate("predict", "[bold]none[i].xyz").stderr


def test_every_number_can_be_had_by_programs() -> None:
    write("s.extxyz", [molecule("H2O"), molecule("SiH4")])
    as_json = forcegate("predict", "s.extxyz", "--json")
    assert as_json.exit_code == 3
    document = json.loads(as_json.stdout)
    assert document["model"]["digest"] == "sha256:one"
    assert document["units"]["energy"] == "eV"
    water, silane = document["frames"]
    assert (water["index"], water["formula"], water["problem"]) == (0, "H2O", None)
    assert (silane["energy"], silane["problem"]) == (None, "element_unsupported")
    rows = list(csv.DictReader(io.StringIO(forcegate("predict", "s.extxyz", "--csv").stdout)))
    assert float(rows[0]["energy"]) == water["energy"]
    assert rows[1]["energy"] == ""
    assert rows[1]["problem"] == "element_unsupported"
    assert forcegate("predict", "s.extxyz", "--csv", "--json").exit_code == 2


def test_models_for_programs() -> None:
    (entry,) = json.loads(forcegate("models", "--json").stdout)["models"]
    (row,) = csv.DictReader(io.StringIO(forcegate("models", "--csv").stdout))
    assert entry["digest"] == row["digest"] == "sha256:one"
    assert row["md"] == "approved"


def test_each_frame_says_which_it_is_and_by_what(server: FakeServer) -> None:
    write("s.extxyz", [molecule("SiH4"), molecule("H2O")])
    forcegate("predict", "s.extxyz", "--out", "p.extxyz")
    forcegate("relax", "s.extxyz", "--out", "r.extxyz")
    for name in ("p.extxyz", "r.extxyz"):
        bad, good = (frame.info for frame in read(name, ":"))
        assert [bad["forcegate_index"], good["forcegate_index"]] == [0, 1]
        assert bad["forcegate_problem"] == "element_unsupported"
        assert "forcegate_problem" not in good
        assert good["forcegate_digest"] == "sha256:one"
        assert str(good["forcegate_version"]) == "1"
    converged = [frame.info["forcegate_converged"] for frame in read("r.extxyz", ":")]
    assert converged == [False, True]


def test_the_number_in_a_problem_is_that_of_the_frame_in_the_file() -> None:
    frames = [molecule("H2O")] * 135
    frames[133] = molecule("SiH4")
    write("f.extxyz", frames)
    done = forcegate("predict", "f.extxyz", "--out", "o.extxyz")
    assert "structure 133" in read("o.extxyz", 133).info["forcegate_detail"]
    assert "structure 133" in done.stderr


def test_novelty_beyond_the_training_set_is_told(server: FakeServer) -> None:
    server.novelty = 614.9
    write("a.xyz", molecule("H2O"))
    for command in ("predict", "relax"):
        assert "likely to be wrong" in forcegate(command, "a.xyz").stdout
    (frame,) = json.loads(forcegate("predict", "a.xyz", "--json").stdout)["frames"]
    assert "likely to be wrong" in frame["warnings"][0]


def test_an_ordinary_molecule_has_no_remarks() -> None:
    write("a.xyz", molecule("H2O"))
    (frame,) = json.loads(forcegate("predict", "a.xyz", "--json").stdout)["frames"]
    assert frame["warnings"] == []


def test_periodic_structures_are_not_validated_and_it_is_said(server: FakeServer) -> None:
    write("c.cif", bulk("C", "diamond", a=3.57))
    assert "periodic: this model is not validated" in forcegate("predict", "c.cif").stdout
    server.approval = {"periodic": "approved"}
    assert "periodic" not in forcegate("predict", "c.cif").stdout


@pytest.mark.parametrize("command", ["predict", "relax"])
def test_ions_are_not_validated_and_it_is_said(command: str, server: FakeServer) -> None:
    Path("water.xyz").write_text("3\nwater\nO 0 0 0.12\nH 0 0.76 -0.47\nH 0 -0.76 -0.47\n")
    Path("ion.xyz").write_text("2\ncharge=-1\nO 0 0 0\nH 0 0 0.96\n")
    assert "charged: this model is not validated for ions" in forcegate(command, "ion.xyz").stdout
    assert "charged" not in forcegate(command, "water.xyz").stdout
    server.approval = server.approval | {"ions": "approved"}
    assert "charged" not in forcegate(command, "ion.xyz").stdout


def test_what_is_written_can_be_read_again() -> None:
    lines = ("  1  O           1       1.000   1.000   1.117  1.00  0.00           O",)
    Path("blank.pdb").write_text("".join(f"HETATM  {line}\n" for line in lines) + "END\n")
    noted = molecule("H2O")
    noted.info["note"] = "two\nlines"
    noted.info["a key"] = {1: [object()]} and "plain"
    write("note.traj", noted)
    for name in ("blank.pdb", "note.traj"):
        done = forcegate("predict", name, "--out", f"{name}.extxyz")
        assert done.exit_code == 0, done.stderr
        assert isinstance(read(f"{name}.extxyz").get_potential_energy(), float)
    assert read("note.traj.extxyz").info["note"] == "two lines"


def rattled(count: int) -> list[Atoms]:
    frames = [molecule("CH3CH2OH") for _ in range(count)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.02, seed=seed)
    return frames


@pytest.mark.parametrize("command", ["predict", "relax"])
def test_a_full_disk_leaves_what_was_there(command: str) -> None:
    write("f.extxyz", rattled(40))
    Path("r.extxyz").write_text("of yesterday")
    again = (command, "f.extxyz", "--out", "r.extxyz", "--overwrite")
    assert is_one_error(*with_small_files(*again), "r.extxyz cannot be written")
    assert Path("r.extxyz").read_text() == "of yesterday"
    assert sorted(path.name for path in Path().iterdir()) == ["f.extxyz", "r.extxyz"]


@pytest.mark.parametrize("command", ["predict", "relax"])
@pytest.mark.parametrize("place", ["folder", "missing/out.extxyz"])
def test_where_nothing_can_be_written_nothing_is_computed(
    command: str, place: str, server: FakeServer
) -> None:
    Path("folder").mkdir()
    write("a.xyz", molecule("H2O"))
    done = forcegate(command, "a.xyz", "--out", place, "--overwrite")
    assert is_one_error(done.exit_code, done.stderr, place.partition("/")[0])
    assert server.requests == []


@pytest.mark.parametrize(
    ("number", "before"),
    [(signal.SIGTERM, False), (signal.SIGINT, True)],
    ids=["SIGTERM", "Ctrl-C, over an earlier file"],
)
def test_a_stopped_relaxation_keeps_what_is_done_and_goes_on(
    server: FakeServer, number: signal.Signals, before: bool
) -> None:
    write("f.extxyz", [Atoms("O"), molecule("CH3CH2OH"), Atoms("O")])
    endless = ("f.extxyz", "--fmax", "1e-13", "--steps", "1000000", "--out", "r.extxyz")
    if before:
        Path("r.extxyz").write_text("of yesterday")
    process = subprocess.Popen(
        [FORCEGATE, "relax", *endless, *(["--overwrite"] if before else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60.0
    while len(server.predictions) < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number, stderr
    assert "2 of 3 frames relaxed" in stderr
    assert "--continue" in stderr
    kept = "r.partial.extxyz" if before else "r.extxyz"
    assert [frame.info["forcegate_index"] for frame in read(kept, ":")] == [0, 2]
    if before:
        assert Path("r.extxyz").read_text() == "of yesterday"
    server.requests.clear()
    done = forcegate("relax", "f.extxyz", "--fmax", "0.05", "--out", "r.extxyz", "--continue")
    assert done.exit_code == 0, done.stderr
    assert {len(asked.structures) for asked in server.predictions} == {1}
    assert [frame.info["forcegate_index"] for frame in read("r.extxyz", ":")] == [0, 1, 2]
    assert not Path("r.partial.extxyz").exists()
    rerun = forcegate("relax", "f.extxyz", "--out", "r.extxyz", "--continue")
    assert "nothing to do" in rerun.stdout


def test_a_server_that_breaks_in_between_costs_only_the_rest(server: FakeServer) -> None:
    write("f.extxyz", [molecule("H2")] * 200)

    def change(request: httpx.Request) -> httpx.Response:
        answer = server.answer(request)
        server.digests["1"] = "sha256:other"
        return answer

    server.script = [server.answer, change]
    done = forcegate("predict", "f.extxyz", "--out", "o.extxyz")
    assert is_one_error(done.exit_code, done.stderr, "sha256:other")
    assert "128 of 200 frames predicted" in done.stderr
    assert len(read("o.extxyz", ":")) == 128


def test_the_program_tells_its_version() -> None:
    done = forcegate("--version")
    assert done.exit_code == 0
    assert done.stdout.startswith("forcegate-client ")
