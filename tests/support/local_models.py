"""A repository for students in this process, and for a gateway that has to agree with them."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import torch

from forcegate_engine import Model
from forcegate_service.contract.card import (
    ENGINE_NAME,
    MODEL_NAME,
    Limits,
    ModelCard,
    Reference,
    content_digest,
    file_digest,
)
from forcegate_service.contract.force_uncertainty import ForcePartner
from forcegate_service.runtimes.fake import write_fake_model
from support.engine import CHARGED, NEUTRAL, potential, weights
from support.models import newest_version
from support.versions import ACETAMIDE_LIKE, write_random_version

__all__ = ["STRICT", "STUDENT", "write_repository"]

STUDENT, STRICT = "painn_ultra_tiny", "strict"


def write_repository(models: Path) -> Path:
    """``STUDENT``, which is published, ``CHARGED`` and ``NEUTRAL`` of both interfaces with random
    weights, and ``STRICT``, whose card allows next to nothing and names a partner.
    """
    folder = models / STUDENT / newest_version(STUDENT).name
    shutil.copytree(newest_version(STUDENT), folder, ignore=shutil.ignore_patterns("report"))
    card = ModelCard.load(folder)
    shutil.copytree(folder, models / STRICT / card.version)
    update = {
        "name": STRICT,
        "limits": Limits(energy_per_atom=6.0, force=20.0, minimum_distances={"C-H": 1.05}),
        "force_partner": ForcePartner(
            name=STUDENT, version=card.version, digest=card.digest, scale=2.0, floor=0.01
        ),
    }
    card.model_copy(update=update).save(models / STRICT / card.version)
    _write_charged(models)
    write_random_version(models, NEUTRAL)
    return models


def _write_charged(models: Path) -> None:
    card = write_fake_model(models, name=CHARGED, interface=2)
    folder = models / CHARGED / card.version
    model, config = potential(CHARGED)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit", DeprecationWarning)
        torch.jit.script(model).save(str(folder / MODEL_NAME))
    (folder / ENGINE_NAME).write_bytes(weights(CHARGED))
    numbers, positions = ACETAMIDE_LIKE
    answer = Model(weights(CHARGED)).evaluate(numbers, positions)
    update = {
        "elements": list(config.elements),
        "reference": Reference(
            atomic_numbers=numbers,
            positions=positions,
            energy=float(answer.energy[0]),
            forces=answer.forces.tolist(),
            energy_uncertainty=float(answer.energy_uncertainty[0]),
        ),
        "files": {name: file_digest(folder / name) for name in (MODEL_NAME, ENGINE_NAME)},
    }
    assert update["files"][ENGINE_NAME] == content_digest(weights(CHARGED))
    card.model_copy(update=update).save(folder)
