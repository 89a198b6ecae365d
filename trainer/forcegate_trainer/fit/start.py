"""Where a run begins: the weights of another, or a finished run and more data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forcegate_client.dataset import Dataset, concatenate
from forcegate_service.contract.card import CARD_NAME, ModelCard, file_digest
from forcegate_trainer.data.datasets import load_all
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.config import FitConfig, Start
from forcegate_trainer.network.config import PaiNNConfig
from forcegate_trainer.network.storage import (
    CHECKPOINT_NAME,
    CONFIG_NAME,
    WEIGHTS_NAME,
    architecture_of,
    load_exported,
    load_student,
)
from forcegate_trainer.network.student import Student

__all__ = ["Extension", "extend", "find_start", "load_start", "refuse_another_run"]


def find_start(folder: Path, architecture: PaiNNConfig) -> Start:
    """The best weights of a run folder, or those of an exported version.

    Raises:
        SettingsError: if there are none, or they are of another architecture.
        ModelRefused: if an exported version's files do not match its card.
    """
    found, digest = _found(folder)
    if found != architecture:
        raise SettingsError(
            f"received --start-from {folder} with {found}; expected {architecture}, the shape of "
            "the student that is to be fitted"
        )
    return Start(str(folder), digest)


def load_start(model: Student, start: Start) -> None:
    """Give ``model`` the weights of ``start``, with the reference energies they were fitted with.

    Raises:
        SettingsError: if the weights are no longer those of ``start``.
    """
    folder = Path(start.folder)
    _, digest = _found(folder)
    if digest != start.digest:
        raise SettingsError(
            f"received --start-from {folder} with {digest}; expected {start.digest}, as when the "
            "run was set up"
        )
    if (folder / CARD_NAME).is_file():
        weights = load_exported(folder)[0].state_dict()
    else:
        weights = load_student(folder).model.state_dict()
    # The calibration is about other training frames, and stays with the version it came from.
    kept = {
        name: value
        for name, value in weights.items()
        if name.startswith("network.") or name == "reference_energies"
    }
    model.load_state_dict(kept, strict=False)


def _found(folder: Path) -> tuple[PaiNNConfig, str]:
    if (folder / CARD_NAME).is_file():
        card = ModelCard.load(folder)
        return architecture_of(card), card.digest
    if (folder / WEIGHTS_NAME).is_file():
        return load_student(folder).architecture, file_digest(folder / WEIGHTS_NAME)
    raise SettingsError(
        f"received --start-from {folder}, which has neither {WEIGHTS_NAME} nor {CARD_NAME}; "
        "expected a run with a finished validation, or the folder of an exported version"
    )


@dataclass(frozen=True)
class Extension:
    """What a run takes from the one that it extends: the student and its weights, and all data."""

    model: str
    architecture: PaiNNConfig
    start: Start
    paths: tuple[str, ...]
    dataset: Dataset


def extend(folder: Path, more: Sequence[str]) -> Extension:
    """The run in ``folder`` with the datasets ``more`` beside those that it was fitted to.

    A student that goes on with new data alone forgets the old.

    Raises:
        SettingsError: if there is no finished validation, or its data are not what they were.
    """
    if (folder / CARD_NAME).is_file():
        raise SettingsError(
            f"received --extend {folder}, an exported version, which does not say where its data "
            "are; expected a run folder, or --start-from with all datasets, old and new"
        )
    if not (folder / CONFIG_NAME).is_file():
        raise SettingsError(
            f"received --extend {folder}, which has no {CONFIG_NAME}; expected a run folder "
            "made by `forcegate-train fit`"
        )
    before = FitConfig.load(folder / CONFIG_NAME)
    start = find_start(folder, before.architecture)
    missing = [path for path in before.datasets if not Path(path).is_file()]
    if missing:
        raise SettingsError(
            f"received --extend {folder}, which was fitted to {', '.join(missing)}; expected these "
            "files where they were: start from the folder that the run was started from"
        )
    known = load_all(before.datasets)
    found = known.content_hash()
    if found != before.dataset_hash:
        raise SettingsError(
            f"received {', '.join(before.datasets)} with hash {found}; expected "
            f"{before.dataset_hash}, that of the data which {folder} was fitted to"
        )
    added = tuple(path for path in more if path not in before.datasets)
    dataset = concatenate([known, load_all(added)]) if added else known
    return Extension(before.model, before.architecture, start, before.datasets + added, dataset)


def refuse_another_run(folder: Path, config: FitConfig) -> None:
    """Raise ``SettingsError`` if ``folder`` has a checkpoint of a run of other settings or data."""
    if not (folder / CHECKPOINT_NAME).is_file():
        return
    if not config.goes_on_from(FitConfig.load(folder / CONFIG_NAME)):
        raise SettingsError(
            f"received settings or data that differ from {folder / CONFIG_NAME}; expected the same "
            "ones to continue that run, or another --out to start one"
        )
