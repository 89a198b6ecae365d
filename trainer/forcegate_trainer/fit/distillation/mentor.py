"""A larger student, chosen to teach a smaller one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forcegate_client.dataset import Dataset
from forcegate_service.contract.card import ModelCard
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.config import Distillation
from forcegate_trainer.network.config import PaiNNConfig
from forcegate_trainer.network.potential import Potential
from forcegate_trainer.network.storage import architecture_of, load_exported
from forcegate_trainer.teachers.spec import same_teacher

__all__ = ["find_mentor", "load_mentor"]


def find_mentor(
    folder: Path | None, settings: Mapping[str, Any], dataset: Dataset
) -> Distillation | None:
    """The settings of distillation from the version in ``folder``; None without one.

    ``settings`` are the further fields of ``Distillation``, by name.

    Raises:
        SettingsError: if there are weights without a mentor or the reverse, or the mentor was
            fitted to another teacher than that of ``dataset``.
        ModelRefused: if its files do not match its card.
    """
    if folder is None:
        weights = {name: given for name, given in settings.items() if name.endswith("_weight")}
        if any(weights.values()):
            raise SettingsError(
                f"received {weights} and no mentor; expected --mentor with the folder of an "
                "exported version"
            )
        return None
    card = ModelCard.load(folder)
    _require_no_charges(folder, architecture_of(card))
    if not same_teacher(card.teacher, dataset.teacher):
        raise SettingsError(
            f"received mentor {folder}, a student of {card.teacher.get('name')}; expected one of "
            f"{None if dataset.teacher is None else dataset.teacher.to_json()}, which labelled the "
            "frames"
        )
    return Distillation(mentor=str(folder), digest=card.digest, **settings)


def load_mentor(folder: Path) -> tuple[Potential, ModelCard]:
    """The network of the mentor in ``folder``, in float32, and its card.

    Raises:
        SettingsError: if it is no network of the trainer's, or one with charges.
        ModelRefused: if its files do not match its card.
    """
    model, card = load_exported(folder)
    _require_no_charges(folder, architecture_of(card))
    assert isinstance(model, Potential)
    return model, card


def _require_no_charges(folder: Path, architecture: PaiNNConfig) -> None:
    if architecture.charges:
        raise SettingsError(
            f"received mentor {folder}, a student with charges; expected one without: its atomic "
            "energies are not all that its energy is made of"
        )
