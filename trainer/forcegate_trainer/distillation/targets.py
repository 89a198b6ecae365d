"""What the mentor says about every training frame: computed once, kept in the run folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forcegate_client.dataset import Dataset
from forcegate_trainer.distillation.exported import load_exported
from forcegate_trainer.distillation.questions import ask_about_atoms, ask_for_rows
from forcegate_trainer.distillation.settings import Distillation
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.reporting import Tell, tell_nobody
from forcegate_trainer.training.graphs import FrameGraphs

__all__ = ["HessianRows", "MentorFeatures", "MentorTargets", "open_targets", "prepare_targets"]

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
    wanted = _record(settings, data, seed)
    if _recorded(folder) == wanted:
        return
    mentor, card = load_exported(Path(settings.mentor))
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
    aside = folder / f"{FOLDER}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    graphs = FrameGraphs.build(data, card.cutoff, tell)
    if settings.atomic_energy_weight or settings.feature_weight:
        ask_about_atoms(mentor, data, graphs, aside, tell)
    if settings.hessian_weight:
        ask_for_rows(mentor, data, graphs, aside, settings.hessian_rows, seed, tell)
    (aside / _RECORD).write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    aside.rename(folder / FOLDER)


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


def _record(settings: Distillation, data: Dataset, seed: int) -> dict[str, object]:
    """What the answers depend on; which of them are asked for, but not with which weight."""
    return {
        "digest": settings.digest,
        "frames": data.content_hash(),
        "terms": [name for name, weight in settings.weights.items() if weight],
        "hessian_rows": settings.hessian_rows,
        "seed": seed,
    }


def _recorded(folder: Path) -> object:
    path = folder / FOLDER / _RECORD
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
