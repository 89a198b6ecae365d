"""`forcegate-train` refuses bad input in one line, and continues what was begun."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from forcegate_client.dataset import write_dataset
from forcegate_trainer.cli.app import main
from forcegate_trainer.network.storage import load_checkpoint
from support.datasets import labelled_dataset

COMMAND = Path(sys.executable).with_name("forcegate-train")
SMALL = ("--model", "painn_ultra_tiny", "--no-compile", "--batch-size", "6")


class Ended(NamedTuple):
    """How a command ended, and what it said."""

    returncode: int | str | None
    stderr: str


def _train(*arguments: object) -> Ended:
    """Run a command in this process, which has torch already: a new one takes seconds for it."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(said), redirect_stdout(said):
        patch.setattr(sys, "argv", ["forcegate-train", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    return Ended(ended.value.code, said.getvalue())


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "labelled.h5"
    write_dataset(path, labelled_dataset(frames_per_molecule=3))
    return path


def _refusal(*arguments: object) -> str:
    done = _train(*arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


# What is asked for, what is not there, and the command that makes it.
NOT_THERE = {
    "no dataset": (("fit", "no.h5", "--out", "run"), "no.h5", "forcegate-train label"),
    "no dataset to label": (("label", "no.h5", "--out", "l.h5"), "no.h5", "forcegate-train sample"),
    "no dataset to count": (("describe", "no.h5", "--out", "d"), "no.h5", "forcegate-train sample"),
    "no dataset, but its recipe": (("fit", "made.h5", "--out", "run"), "made.h5", "/made.sh"),
    "no dataset yet": (("fit", "begun.h5", "--out", "run"), "begun.h5.parts", "run the command"),
    "no table": (("sample", "no.csv", "--out", "s.h5"), "no.csv", "forcegate-train molecules"),
    "no list": (("molecules", "no.smi", "--out", "m.csv"), "no.smi", "forcegate-train molecules"),
    "no frames": (("import", "no.xyz", "--out", "i.h5"), "no.xyz", "check the path"),
    "no run": (("export", "no"), "no", "forcegate-train fit"),
    "no run to extend": (
        ("fit", "labelled.h5", "--extend", "no", "--out", "run"),
        "--extend no",
        "forcegate-train fit",
    ),
}


@pytest.mark.parametrize("case", NOT_THERE)
def test_of_what_is_not_there_the_command_is_told_that_makes_it(
    tmp_path: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labelled.h5").hardlink_to(labelled)
    (tmp_path / "made.sh").write_text("true")
    (tmp_path / "begun.h5.parts").mkdir()
    arguments, named, command = NOT_THERE[case]
    said = _refusal(*arguments)
    assert named in said
    assert command in said


def test_a_model_that_does_not_exist_is_refused(labelled: Path, tmp_path: Path) -> None:
    message = _refusal("fit", labelled, "--out", tmp_path / "run", "--model", "painn_huge")
    assert "painn_huge" in message
    assert "painn_base" in message


def test_elements_that_are_no_numbers_are_refused(labelled: Path, tmp_path: Path) -> None:
    message = _refusal("fit", labelled, "--out", tmp_path / "run", "--elements", "H,C")
    assert "1,6,8" in message


def test_frames_without_labels_are_refused(tmp_path: Path) -> None:
    labelled = labelled_dataset(frames_per_molecule=2)
    bare = replace(labelled, energies=None, forces=None, teacher=None)
    write_dataset(tmp_path / "bare.h5", bare)
    message = _refusal("fit", tmp_path / "bare.h5", "--out", tmp_path / "run", *SMALL)
    assert "forcegate-train label" in message


def test_a_run_is_continued_with_the_same_settings_and_refused_with_others(
    labelled: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert _train("fit", labelled, "--out", run, *SMALL, "--epochs", 1).returncode == 0
    assert "another --out" in _refusal("fit", labelled, "--out", run, *SMALL, "--seed", 5)
    assert _train("fit", labelled, "--out", run, *SMALL, "--epochs", 2).returncode == 0
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_run_is_extended_with_the_data_it_had_and_more(labelled: Path, tmp_path: Path) -> None:
    run, more, out = tmp_path / "run", tmp_path / "more.h5", tmp_path / "extended"
    write_dataset(more, labelled_dataset(frames_per_molecule=2, amplitude=0.05))
    assert _train("fit", labelled, "--out", run, *SMALL, "--epochs", 1).returncode == 0
    extending = ("fit", more, "--extend", run, "--out", out, *SMALL[2:], "--epochs", 1)
    assert "--model beside --extend" in _refusal(*extending, "--model", "painn_tiny")
    assert _train(*extending).returncode == 0
    settings = json.loads((out / "config.json").read_text())
    assert settings["datasets"] == [str(labelled), str(more)]
    assert settings["model"] == "painn_ultra_tiny"
    assert settings["start"]["folder"] == str(run)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_stopped_by_ctrl_c_loses_no_step_and_goes_on_when_called_again(
    labelled: Path, tmp_path: Path, workers: int
) -> None:
    run = tmp_path / "run"
    arguments = ["fit", labelled, "--out", run, *SMALL, "--workers", workers, "--epochs"]
    process = subprocess.Popen(
        [str(COMMAND), *map(str, arguments), "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    metrics = run / "metrics.jsonl"
    for _ in range(600):
        if metrics.is_file() and metrics.read_text().count("\n") > 2:
            break
        time.sleep(0.1)
    # To the whole group, as a terminal does.
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert "run the same command again" in output
    # Two steps make an epoch of these frames.
    done = load_checkpoint(run / "checkpoint.pt")["step"]
    assert done // 2 == len(metrics.read_text().splitlines())
    epochs = done // 2 + 2
    assert _train(*arguments, epochs).returncode == 0
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == [2 * (epoch + 1) for epoch in range(epochs)]


def test_what_is_no_run_is_not_exported(labelled: Path, tmp_path: Path) -> None:
    for run in (tmp_path, tmp_path / "nothing", labelled):
        message = _refusal("export", run, "--out", tmp_path / "models")
        assert "forcegate-train fit" in message


def test_a_test_split_that_was_trained_on_is_refused(labelled: Path, tmp_path: Path) -> None:
    run, models = tmp_path / "run", tmp_path / "models"
    assert _train("fit", labelled, "--out", run, *SMALL, "--epochs", 1).returncode == 0
    assert _train("export", run, "--out", models).returncode == 0
    dataset = labelled_dataset(frames_per_molecule=1)
    keys = list(dataset.molecules.split_key)
    keys[-1] = keys[0]
    leaked = replace(dataset, molecules=replace(dataset.molecules, split_key=tuple(keys)))
    write_dataset(tmp_path / "leaked.h5", leaked)
    version = models / "painn_ultra_tiny" / "1"
    message = _refusal("validate", version, "--data", tmp_path / "leaked.h5")
    assert "expected one split a molecule" in message
    message = _refusal("validate", version, "--data", labelled, "--teacher", "tblite:GFN1-xTB")
    assert "tblite:GFN2-xTB" in message


def test_what_cannot_be_validated_is_refused(labelled: Path, tmp_path: Path) -> None:
    assert "version folder" in _refusal("validate", tmp_path / "nothing", "--data", labelled)
    assert "--report" in _refusal("validate", "tblite:GFN1-xTB", "--data", labelled)
    message = _refusal("validate", "tblite:GFN1-xTB", "--data", labelled, "--suite", "fast")
    assert "quick, full" in message
