"""A finished run that goes on with more data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forcegate_service.card import CARD_NAME
from forcegate_trainer.data.datasets import load_all
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.config import FitConfig, Start
from forcegate_trainer.fit.start import find_start
from forcegate_trainer.network.config import PaiNNConfig
from forcegate_trainer.network.storage import CONFIG_NAME

__all__ = ["Extension", "extend"]


@dataclass(frozen=True)
class Extension:
    """What a run takes from the one that it extends: the student and its weights, and all data."""

    model: str
    architecture: PaiNNConfig
    start: Start
    datasets: tuple[str, ...]


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
    found = load_all(before.datasets).content_hash()
    if found != before.dataset_hash:
        raise SettingsError(
            f"received {', '.join(before.datasets)} with hash {found}; expected "
            f"{before.dataset_hash}, that of the data which {folder} was fitted to"
        )
    known = set(before.datasets)
    added = tuple(path for path in more if path not in known)
    return Extension(before.model, before.architecture, start, before.datasets + added)
