"""Students on disk: checkpoints, the best weights of a run, and exported versions."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch

from forcegate_service.contract.card import ModelCard
from forcegate_service.runtimes.torchscript import load_script
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.network.config import PaiNNConfig
from forcegate_trainer.network.student import Student, student

__all__ = [
    "CHECKPOINT_NAME",
    "CONFIG_NAME",
    "METRICS_NAME",
    "TENSORBOARD_NAME",
    "WEIGHTS_NAME",
    "StudentOfRun",
    "architecture_of",
    "load_checkpoint",
    "load_exported",
    "load_student",
    "save_checkpoint",
    "student_of",
]

# In the folder of a run: its settings, all that it needs to go on, its best weights, what it told.
CONFIG_NAME = "config.json"
CHECKPOINT_NAME = "checkpoint.pt"
WEIGHTS_NAME = "best.pt"
METRICS_NAME = "metrics.jsonl"
TENSORBOARD_NAME = "tensorboard"


class StudentOfRun(NamedTuple):
    """The student that a run has come to, and what it will be called."""

    model: Student
    architecture: PaiNNConfig
    name: str


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` (tensors, numbers, strings, lists and dicts of them) whole or not at all."""
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what ``save_checkpoint`` wrote; nothing but data is accepted."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def load_student(run: Path) -> StudentOfRun:
    """The best weights of a run, averaged, in float32.

    Raises:
        SettingsError: if ``run`` holds no settings, or no finished epoch.
    """
    try:
        settings = json.loads((run / CONFIG_NAME).read_text(encoding="utf-8"))
        architecture, name = PaiNNConfig.from_stored(settings["architecture"]), settings["model"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(
            f"received {run}, whose {CONFIG_NAME} cannot be read ({error}); expected a run folder "
            "made by `forcegate-train fit`"
        ) from error
    weights = run / WEIGHTS_NAME
    if not weights.is_file():
        raise SettingsError(
            f"received {run}, which has no {WEIGHTS_NAME} yet; expected a run with at least one "
            f"finished epoch: run `forcegate-train fit` with --out {run} again, which goes on"
        )
    model = student(architecture)
    model.load_state_dict(load_checkpoint(weights))
    return StudentOfRun(model.eval(), architecture, name)


def architecture_of(card: ModelCard) -> PaiNNConfig:
    """The shape of the network that a card describes.

    Raises:
        SettingsError: if it is not one of the trainer's networks.
    """
    try:
        return PaiNNConfig.from_stored(card.architecture)
    except (KeyError, TypeError) as error:
        raise SettingsError(
            f"received version {card.version} of {card.name} with the architecture "
            f"{card.architecture}; expected a PaiNN exported by `forcegate-train export` ({error})"
        ) from error


def load_exported(folder: Path) -> tuple[Student, ModelCard]:
    """The network of the version in ``folder``, in float32, and its card.

    Raises:
        ModelRefused: if the files do not match the card.
        SettingsError: if it is not one of the trainer's networks, or of an earlier one.
    """
    card = ModelCard.load(folder)
    return student_of(card, load_script(card.read(folder))).requires_grad_(False), card


def student_of(card: ModelCard, script: torch.jit.ScriptModule) -> Student:
    """The network of a card with the weights of its scripted module.

    Raises:
        SettingsError: if they do not belong together.
    """
    model = student(architecture_of(card))
    state = script.state_dict()
    try:
        # A script keeps the constants of the code too, which are no weights: they must be today's.
        for name in set(dict(model.named_buffers())) - set(model.state_dict()):
            if not torch.equal(state.pop(name), model.get_buffer(name)):
                raise RuntimeError(f"another {name}")
        model.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise SettingsError(
            f"received {card.name} version {card.version}, whose weights do not fit today's "
            f"network ({str(error).splitlines()[0]}); expected a version of this release: export "
            "the student again"
        ) from error
    return model.eval()
