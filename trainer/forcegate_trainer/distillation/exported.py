"""An exported student as the trainer's own network, whose inner quantities can be read."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from forcegate_service.card import ModelCard
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.painn.config import PaiNNConfig
from forcegate_trainer.painn.potential import Potential

__all__ = ["architecture_of", "load_exported"]


def architecture_of(card: ModelCard) -> PaiNNConfig:
    """The shape of the network that a card describes.

    Raises:
        SettingsError: if it is not one of the trainer's networks.
    """
    try:
        shape = dict(card.architecture)
        return PaiNNConfig(**shape | {"elements": tuple(shape["elements"])})
    except (KeyError, TypeError) as error:
        raise SettingsError(
            f"received version {card.version} of {card.name} with the architecture "
            f"{card.architecture}; expected a PaiNN exported by `forcegate-train export` ({error})"
        ) from error


def load_exported(folder: Path) -> tuple[Potential, ModelCard]:
    """The network of the version in ``folder``, in float32, and its card.

    Raises:
        ModelRefused: if the files do not match the card.
        SettingsError: if it is not one of the trainer's networks.
    """
    card = ModelCard.load(folder)
    model = Potential(architecture_of(card))
    script = torch.jit.load(io.BytesIO(card.read(folder)), map_location="cpu")
    try:
        model.load_state_dict(script.state_dict())
    except RuntimeError as error:
        raise SettingsError(
            f"received {folder}, whose weights do not fit its architecture; expected a PaiNN "
            f"exported by this release: {error}"
        ) from error
    return model.eval().requires_grad_(False), card
