"""The steps of the turn; each leaves files, and is passed over where its files are there."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from forcegate_client.dataset import Dataset, load_dataset
from forcegate_service.contract.card import ModelCard
from forcegate_trainer.simulation.exported import serving
from forcegate_trainer.validation.accuracy.heldout import predict_held_out
from forcegate_wheel.division import (
    Division,
    divide,
    load_division,
    monomers,
    neutral_organic,
    save_division,
    without,
)
from forcegate_wheel.traffic import Traffic, half_and_half, make_traffic
from forcegate_wheel.trainer import TEACHER, run_trainer
from forcegate_wheel.watch import Phase, Row, watch

__all__ = ["Turn", "turn"]

_MODEL = "painn_ultra_tiny"
_DATA = Path("datasets")
_PLANNED = ("frames", "first_steps", "more_steps", "structures", "seed")
_JUDGES = ("test_ordinary", "test_group")
# Nothing here is published, so that the test split stays closed: other validation molecules judge.
_KNOWN, _JUDGING = _DATA / "forcegate_v3_1.h5", _DATA / "forcegate_v3_validation.h5"


@dataclass(frozen=True)
class Turn:
    """Where the turn leaves its files, and how long its steps are."""

    folder: Path
    frames: int = 20_000
    first_steps: int = 6000
    more_steps: int = 6000
    structures: int = 1000
    seed: int = 0

    @property
    def models(self) -> Path:
        """The repository that is served: version 1 and, later, version 2."""
        return self.folder / "models"

    def version(self, number: int) -> Path:
        """The folder of an exported version."""
        return self.models / _MODEL / str(number)

    @property
    def control(self) -> Path:
        """Version 1 trained on for as long as version 2, without what was captured."""
        return self.folder / "control" / _MODEL / "1"

    @property
    def captured(self) -> Path:
        """What the gateway captured, with the teacher's labels."""
        return self.folder / "captured.h5"


def turn(plan: Turn) -> dict[str, Any]:
    """Do what is not done yet; returns what was found, which also lies in ``results.json``."""
    run_trainer("teacher", "fetch", TEACHER)
    division = _timed(plan, "divide", lambda: _divided(plan))
    data = plan.folder / "data"
    base = str(data / "base.h5")
    traffic = _timed(plan, "make the traffic", lambda: make_traffic(
        data, plan.folder / "traffic", plan.seed
    ))  # fmt: skip
    _timed(plan, "train version 1", lambda: _student(
        plan, [base], "first", plan.models, plan.first_steps, "--learning-rate", "0.003"
    ))  # fmt: skip
    expect(plan.version(1), division.test_ordinary)
    before = _timed(plan, "watch version 1", lambda: _before(plan, traffic))
    _timed(plan, "label the capture", lambda: _label(plan))
    start = ("--start-from", str(plan.version(1)), "--learning-rate", "0.002")
    _timed(plan, "train version 2", lambda: _student(
        plan, [base, str(plan.captured)], "second", plan.models, plan.more_steps, *start
    ))  # fmt: skip
    expect(plan.version(2), division.test_ordinary)
    _timed(plan, "train the control", lambda: _student(
        plan, [base], "control", plan.control.parents[1], plan.more_steps, *start
    ))  # fmt: skip
    captured = load_dataset(plan.captured)
    unseen = traffic.without(monomers(captured))
    after = _timed(plan, "watch both versions", lambda: _after(plan, unseen))
    errors = _timed(plan, "measure", lambda: _errors(plan, division, captured, unseen.second))
    results = {
        "plan": {name: getattr(plan, name) for name in _PLANNED},
        "frames": {name: _size(getattr(division, name)) for name in ("base", *_JUDGES)}
        | {f"traffic, {f.name}": _size(getattr(traffic, f.name)) for f in fields(Traffic)}
        | {"captured": _size(captured), "second wave, unseen": _size(unseen.second)},
        "capture": {"dropped": dict(captured.dropped)},
        "errors": errors,
        "before": before,
        "after": after,
        "seconds": _read(plan.folder / "seconds.json", {}),
    }
    _write(plan.folder / "results.json", results)
    return results


def expect(version: Path, ordinary: Dataset) -> None:
    """Write the error on ordinary test molecules into the card, as `validate --suite full` would.

    It is what the error on live structures is compared with. The full suite takes an hour.
    """
    card = ModelCard.load(version)
    if "test" not in card.metrics:
        measured = {"suite": "wheel", **_measured(version, ordinary)}
        card.model_copy(update={"metrics": card.metrics | {"test": measured}}).save(version)


def _divided(plan: Turn) -> Division:
    folder = plan.folder / "data"
    division = load_division(folder)
    if division is None:
        known, judging = (neutral_organic(load_dataset(path)) for path in (_KNOWN, _JUDGING))
        judging = without(judging, monomers(known))
        judging = judging.select(judging.frame_indices("validation"))
        division = divide(known, judging, plan.frames, plan.seed)
        save_division(division, folder)
    return division


def _student(
    plan: Turn, data: list[str], name: str, repository: Path, steps: int, *more: str
) -> None:
    """Fit and export, unless the version is there; an interrupted fit goes on."""
    run = plan.folder / "runs" / name
    number = "2" if name == "second" else "1"
    if (repository / _MODEL / number).is_dir():
        return
    run_trainer(
        *("fit", *data, "--out", str(run), "--model", _MODEL, "--steps", str(steps)),
        *("--warmup-steps", "300", "--validate-steps", "1000", "--no-tensorboard", *more),
    )
    run_trainer("export", str(run), "--out", str(repository), "--version", number)


def _before(plan: Turn, traffic: Traffic) -> list[Row]:
    path = plan.folder / "before.json"
    if not path.is_file():
        folder, capture = plan.folder / "before", plan.folder / "captured"
        # An interrupted watch begins anew, with nothing captured.
        for left in (folder, capture):
            shutil.rmtree(left, ignore_errors=True)
        card = ModelCard.load(plan.version(1))
        assert card.histograms is not None  # `export` counts
        settings = {
            "FORCEGATE_CAPTURE_DIR": str(capture),
            "FORCEGATE_CAPTURE_FORCE_RMSE": f"{2 * card.metrics['test']['force_rmse']:.4f}",
            # What the alert counts; by default only what is beyond 99.9 % of the training set.
            "FORCEGATE_CAPTURE_NOVELTY": f"{card.histograms.max_novelty_99:.4f}",
        }
        phases = _phases(plan, traffic.ordinary, traffic.first, ("1",))
        _write(path, watch(plan.models, folder, phases, settings))
    found: list[Row] = _read(path, [])
    return found


def _after(plan: Turn, unseen: Traffic) -> list[Row]:
    path = plan.folder / "after.json"
    if not path.is_file():
        folder = plan.folder / "after"
        shutil.rmtree(folder, ignore_errors=True)
        phases = _phases(plan, unseen.ordinary, unseen.second, ("1", "2"))
        _write(path, watch(plan.models, folder, phases, {}))
    found: list[Row] = _read(path, [])
    return found


def _phases(
    plan: Turn, ordinary: Dataset, grouped: Dataset, versions: tuple[str, ...]
) -> list[Phase]:
    """A new interest comes beside the old ones: half of all structures have the group."""
    mixed = half_and_half(ordinary, grouped, plan.seed)
    return [
        Phase("ordinary", ordinary, plan.structures, versions),
        Phase("half with the group", mixed, 2 * plan.structures, versions),
    ]


def _label(plan: Turn) -> None:
    if plan.captured.is_file():
        return
    data = plan.folder / "data"
    judges = [data / f"{name}.h5" for name in ("base", *_JUDGES)]
    run_trainer(
        *("label", "--from-capture", str(plan.folder / "captured"), "--out", str(plan.captured)),
        *("--teacher", TEACHER),
        *(argument for path in judges for argument in ("--data", str(path))),
    )


def _errors(plan: Turn, division: Division, captured: Dataset, second: Dataset) -> dict[str, Any]:
    """Errors of all three students on all that none of them was trained on."""
    judges = {
        "ordinary test molecules": division.test_ordinary,
        "test molecules with the group": division.test_group,
        "second wave, with the group": second,
    }
    trained = monomers(captured) | monomers(division.base)
    for name, dataset in judges.items():
        if not trained.isdisjoint(monomers(dataset)):
            raise ValueError(f"molecules of {name} were trained on: a fault of the division")
    students = {
        "version 1": plan.version(1),
        "control": plan.control,
        "version 2": plan.version(2),
    }
    return {
        judge: {student: _measured(folder, dataset) for student, folder in students.items()}
        for judge, dataset in judges.items()
    }


def _measured(version: Path, dataset: Dataset) -> dict[str, float]:
    """Errors and novelty of an exported version, through the inference process that serves it."""
    card = ModelCard.load(version)
    with serving(version) as runtime:
        found = predict_held_out(runtime, dataset)
    everything = np.ones(len(dataset), dtype=np.bool_)
    novel = np.nan if card.histograms is None else card.histograms.max_novelty_99
    share = {"novel_share": float((found.max_novelty > novel).mean())}
    return {**found.metrics(everything), **share, "frames": len(dataset)}


def _size(dataset: Dataset) -> dict[str, int]:
    return {"frames": len(dataset), "molecules": len(dataset.molecules)}


def _timed(plan: Turn, name: str, step: Any) -> Any:
    """Do a step, and remember the seconds of the longest call: later ones find it done."""
    print(f"\n== {name}", flush=True)
    began = time.monotonic()
    result = step()
    path = plan.folder / "seconds.json"
    seconds: dict[str, float] = _read(path, {})
    seconds[name] = max(seconds.get(name, 0.0), round(time.monotonic() - began, 1))
    _write(path, seconds)
    return result


def _read(path: Path, default: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else default


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)
