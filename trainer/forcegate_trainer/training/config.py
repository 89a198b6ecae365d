"""The settings of a training run, stored as JSON beside its checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from forcegate_trainer.errors import SettingsError
from forcegate_trainer.painn.config import PaiNNConfig

__all__ = ["FitConfig"]


@dataclass(frozen=True)
class FitConfig:
    """How a student is fitted.

    ``datasets`` are paths of labelled files, ``dataset_hash`` identifies their content.
    ``batch_size`` frames make one optimiser step, shared out over ``workers`` processes.
    ``energy_weight`` multiplies the error per atom in eV against the force error in eV/Å.
    """

    model: str
    architecture: PaiNNConfig
    datasets: tuple[str, ...]
    dataset_hash: str
    epochs: int
    batch_size: int = 16
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-6
    warmup_steps: int = 500
    weight_decay: float = 1e-3
    clip_norm: float = 2.0
    ema_decay: float = 0.9995
    energy_weight: float = 5.0
    seed: int = 0
    workers: int = 1
    compile: bool = True
    checkpoint_steps: int = 500

    def __post_init__(self) -> None:
        if self.batch_size % self.workers:
            raise SettingsError(
                f"received batch size {self.batch_size} for {self.workers} workers; expected a "
                "multiple of the workers"
            )
        if self.epochs < 1:
            raise SettingsError(f"received {self.epochs} epochs; expected at least 1")

    def save(self, path: Path) -> None:
        """Write the settings as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> FitConfig:
        """Read what ``save`` wrote.

        Raises:
            SettingsError: if the file is missing or has other fields.
        """
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            stored["datasets"] = tuple(stored["datasets"])
            shape = stored.pop("architecture")
            shape["elements"] = tuple(shape["elements"])
            return cls(architecture=PaiNNConfig(**shape), **stored)
        except FileNotFoundError:
            raise SettingsError(
                f"received {path.parent}, which has no {path.name}; expected a run folder made by "
                "`forcegate-train fit`"
            ) from None
        except (TypeError, KeyError, ValueError) as error:
            raise SettingsError(f"{path} is not a training configuration: {error}") from error
