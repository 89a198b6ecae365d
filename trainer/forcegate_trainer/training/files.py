"""What a run folder holds, and the datasets it was fitted to."""

from __future__ import annotations

from forcegate_client.dataset import Dataset, concatenate, load_dataset
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.molecules.held_out import trained_when_common

__all__ = [
    "CHECKPOINT_NAME",
    "METRICS_NAME",
    "TENSORBOARD_NAME",
    "load_all",
]

CHECKPOINT_NAME = "checkpoint.pt"
METRICS_NAME = "metrics.jsonl"
TENSORBOARD_NAME = "tensorboard"


def load_all(paths: tuple[str, ...]) -> Dataset:
    """All frames of several labelled files.

    Raises:
        SettingsError: if one of them has no labels.
    """
    datasets = [trained_when_common(load_dataset(path)) for path in paths]
    for path, dataset in zip(paths, datasets, strict=True):
        if not dataset.is_labelled:
            raise SettingsError(
                f"received {path}, which has no energies and forces; expected labelled frames: "
                "run `forcegate-train label` on it first"
            )
    return concatenate(datasets)
