"""A gateway whose toy model has a cheap teacher, and a worker's gateway that is a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forcegate_service.contract.card import ModelCard
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_trainer.teachers.spec import parse_teacher

__all__ = ["MORSE", "WATER", "write_taught_model"]

# Another potential than the toy's, and quick.
MORSE = "ase.calculators.morse:MorsePotential"

WATER: dict[str, Any] = {
    "atomic_numbers": [8, 1, 1],
    "positions": [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]],
}


def write_taught_model(
    repository: Path, version: str = "1", force_rmse: float | None = None, teacher: str = MORSE
) -> ModelCard:
    """The toy model ``fake`` with a card that names ``teacher``."""
    card = write_fake_model(repository, version=version)
    record = parse_teacher(teacher).record
    update: dict[str, Any] = {
        "teacher": {
            "name": record.name, "version": record.version, "settings": dict(record.settings)
        },
        "metrics": {} if force_rmse is None else {"test": {"force_rmse": force_rmse}},
    }  # fmt: skip
    taught = card.model_copy(update=update)
    taught.save(repository / "fake" / version)
    return taught
