"""Training runs of seconds."""

from dataclasses import replace
from pathlib import Path

from forcegate_client.dataset import load_dataset
from forcegate_trainer.fit.config import FitConfig
from forcegate_trainer.network.config import PRESETS


def small_config(dataset: Path, epochs: int = 4, **changes: object) -> FitConfig:
    """Settings that train the smallest student on ``dataset`` for a few steps, uncompiled."""
    config = FitConfig(
        model="painn_ultra_tiny",
        architecture=PRESETS["painn_ultra_tiny"],
        datasets=(str(dataset),),
        dataset_hash=load_dataset(dataset).content_hash(),
        epochs=epochs,
        batch_size=6,
        learning_rate=1e-3,
        warmup_steps=2,
        compile=False,
    )
    return replace(config, **changes)  # type: ignore[arg-type]
