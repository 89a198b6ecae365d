"""Weights that a run begins with."""

from __future__ import annotations

from pathlib import Path

from forcegate_service.card import CARD_NAME, ModelCard, file_digest
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.config import Start
from forcegate_trainer.network.config import PaiNNConfig
from forcegate_trainer.network.storage import (
    WEIGHTS_NAME,
    architecture_of,
    load_exported,
    load_student,
)
from forcegate_trainer.network.student import Student

__all__ = ["find_start", "load_start"]


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
