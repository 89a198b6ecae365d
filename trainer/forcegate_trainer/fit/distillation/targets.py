"""What the mentor says about every training frame: computed once, kept in the run folder."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forcegate_client.dataset import Dataset
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.config import Distillation
from forcegate_trainer.fit.distillation.mentor import load_mentor
from forcegate_trainer.fit.distillation.questions import ask_about_atoms, ask_for_rows
from forcegate_trainer.fit.graphs import FrameGraphs
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.simulation.exported import opened

__all__ = [
    "HessianRows",
    "MentorFeatures",
    "MentorTargets",
    "asking_seconds",
    "open_targets",
    "prepare_targets",
    "share_targets",
]

Float = npt.NDArray[np.float64]

FOLDER = "mentor"
_RECORD = "targets.json"


@dataclass(frozen=True)
class MentorFeatures:
    """``values`` [N, H] of the last layer, float16, with their ``mean`` and ``spread`` [H]."""

    values: npt.NDArray[np.float16]
    mean: Float
    spread: Float


@dataclass(frozen=True)
class HessianRows:
    """``values`` [K, N, 3] in eV/Å², float32, and the coordinates they are the rows of.

    Row k of frame f is that of ``moved`` [K, F, 2], (atom within the frame, axis).
    """

    values: npt.NDArray[np.float32]
    moved: npt.NDArray[np.int64]


@dataclass(frozen=True)
class MentorTargets:
    """A mentor's answers for F frames with N atoms, mapped from files; None: not asked for.

    ``atomic_energies`` [N] in eV, reference energies included.
    """

    atomic_energies: Float | None
    features: MentorFeatures | None
    rows: HessianRows | None


def prepare_targets(
    settings: Distillation, data: Dataset, folder: Path, seed: int, tell: Tell = tell_nobody
) -> None:
    """Have the mentor's answers for all frames of ``data`` in ``folder``, unless they are there.

    Raises:
        SettingsError: if the mentor's weights have changed, or it does not know an element.
        ModelRefused: if its files do not match its card.
    """
    basis = _basis(settings, data, seed)
    known = _recorded(folder)
    asked = known["asked_s"] if known is not None and known["basis"] == basis else {}
    missing = [question for question in _questions(settings) if question not in asked]
    if not missing:
        return
    mentor, card = load_mentor(Path(settings.mentor))
    if card.digest != settings.digest:
        raise SettingsError(
            f"received mentor {settings.mentor} with {card.digest}; expected {settings.digest}, as "
            "when the run was set up"
        )
    unknown = sorted(set(np.unique(data.atomic_numbers).tolist()) - set(card.elements))
    if unknown:
        raise SettingsError(
            f"received frames with atomic numbers {unknown}, which mentor {settings.mentor} does "
            f"not know; expected only {card.elements}"
        )
    home = folder / FOLDER
    if not asked:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
    graphs = FrameGraphs.build(data, card.cutoff, tell)
    for question in missing:
        started = time.perf_counter()
        if question == "atoms":
            ask_about_atoms(mentor, data, graphs, home, tell)
        else:
            runtime = opened(Path(settings.mentor))
            ask_for_rows(runtime, data, graphs, home, settings.hessian_rows, seed, tell)
        asked = {**asked, question: time.perf_counter() - started}
        # The answers are whole before the record says that they are there.
        aside = home / f"{_RECORD}.partial"
        record = json.dumps({"basis": basis, "asked_s": asked}, indent=1)
        aside.write_text(record + "\n", encoding="utf-8")
        aside.replace(home / _RECORD)


def asking_seconds(settings: Distillation, folder: Path) -> float:
    """How long the mentor took over what ``settings`` ask for, of what is in ``folder``.

    Raises:
        SettingsError: if it was not asked.
    """
    known = _recorded(folder)
    questions = _questions(settings)
    if known is None or not set(questions) <= set(known["asked_s"]):
        raise SettingsError(
            f"received {folder} without the mentor's answers about {' and '.join(questions)}; "
            "expected a folder in which they were prepared: run `forcegate-train fit` with --mentor"
        )
    return float(sum(known["asked_s"][question] for question in questions))


def share_targets(folder: Path, other: Path) -> None:
    """Let the run in ``other`` use the answers in ``folder``, on the same disk, without a copy."""
    shutil.rmtree(other / FOLDER, ignore_errors=True)
    shutil.copytree(folder / FOLDER, other / FOLDER, copy_function=os.link)


def open_targets(settings: Distillation, folder: Path) -> MentorTargets:
    """What ``prepare_targets`` left in ``folder``."""

    def mapped(name: str) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = np.load(folder / FOLDER / f"{name}.npy", mmap_mode="r")
        return array

    return MentorTargets(
        atomic_energies=mapped("atomic_energies") if settings.atomic_energy_weight else None,
        features=MentorFeatures(mapped("features"), mapped("mean"), mapped("spread"))
        if settings.feature_weight
        else None,
        rows=HessianRows(mapped("rows"), mapped("moved")) if settings.hessian_weight else None,
    )


def _questions(settings: Distillation) -> list[str]:
    """Energies and features of atoms come from one evaluation, whichever is used."""
    atoms = settings.atomic_energy_weight or settings.feature_weight
    return ["atoms"] * bool(atoms) + ["rows"] * bool(settings.hessian_weight)


def _basis(settings: Distillation, data: Dataset, seed: int) -> dict[str, object]:
    """What the answers depend on."""
    return {
        "digest": settings.digest,
        "frames": data.content_hash(),
        "hessian_rows": settings.hessian_rows,
        "seed": seed,
    }


def _recorded(folder: Path) -> dict[str, Any] | None:
    path = folder / FOLDER / _RECORD
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    # Folders of earlier releases are asked again.
    return record if {"basis", "asked_s"} <= set(record) else None
