"""The settings of a training run, stored as JSON beside its checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.distillation.settings import Distillation
from forcegate_trainer.network.config import PaiNNConfig

__all__ = ["ExtraFrames", "FitConfig", "Start"]


@dataclass(frozen=True)
class ExtraFrames:
    """Frames that another student labelled: their files, content, and who labelled them."""

    paths: tuple[str, ...]
    content_hash: str
    teacher: str
    teacher_version: str


@dataclass(frozen=True)
class Start:
    """The run or version whose weights a run begins with, and their digest."""

    folder: str
    digest: str


@dataclass(frozen=True)
class FitConfig:
    """How a student is fitted.

    ``datasets`` are paths of labelled files, ``dataset_hash`` identifies their content.
    ``batch_size`` frames make one optimiser step, shared out over ``workers`` processes; ``steps``
    of them are taken, or whole ``epochs`` where it is zero. ``optimizer`` is ``muon`` (for
    matrices, with AdamW for the rest) or ``adamw``. ``energy_weight`` multiplies the error
    per atom in eV against the force error in eV/Å; in the last fifth of the run it goes to
    ``late_energy_weight``, if that is set. Validated every ``validate_steps``, or after each epoch
    where it is zero; ``patience`` validations in a row without a smaller loss end the run,
    zero never does. Students with charges weigh the errors of atomic charges, of the net charges of
    molecules (both in e) and of interaction energies (eV) against the force error too.
    """

    model: str
    architecture: PaiNNConfig
    datasets: tuple[str, ...]
    dataset_hash: str
    epochs: int
    steps: int = 0
    batch_size: int = 16
    optimizer: str = "muon"
    learning_rate: float = 3e-3
    final_learning_rate: float = 1e-6
    warmup_steps: int = 1000
    weight_decay: float = 1e-3
    clip_norm: float = 2.0
    ema_decay: float = 0.9995
    energy_weight: float = 5.0
    late_energy_weight: float | None = None
    seed: int = 0
    workers: int = 1
    compile: bool = True
    device: str = "cpu"
    tf32: bool = False
    checkpoint_steps: int = 500
    validate_steps: int = 0
    patience: int = 0
    start: Start | None = None
    charge_weight: float = 2.0
    net_charge_weight: float = 0.2
    interaction_weight: float = 1.0
    extra: ExtraFrames | None = None
    distillation: Distillation | None = None

    def __post_init__(self) -> None:
        if self.batch_size % self.workers:
            raise SettingsError(
                f"received batch size {self.batch_size} for {self.workers} workers; expected a "
                "multiple of the workers"
            )
        if self.epochs < 1:
            raise SettingsError(f"received {self.epochs} epochs; expected at least 1")
        if self.optimizer not in ("muon", "adamw"):
            raise SettingsError(f"received optimizer {self.optimizer!r}; expected muon or adamw")
        for name in ("steps", "validate_steps", "patience", "warmup_steps"):
            if getattr(self, name) < 0:
                raise SettingsError(f"received {name} = {getattr(self, name)}; expected 0 or more")
        if not 0 <= self.ema_decay < 1:
            raise SettingsError(
                f"received an EMA decay of {self.ema_decay}; expected at least 0, less than 1"
            )
        if self.device != "cpu" and self.workers > 1:
            raise SettingsError(
                f"received {self.workers} workers on {self.device}; expected one: workers share "
                "out the cores of a processor"
            )
        if self.architecture.charges and self.distillation is not None:
            raise SettingsError(
                "received a mentor for a student with charges; expected no mentor: it is taught by "
                "the teacher alone"
            )
        if self.tf32 and self.device == "cpu":
            raise SettingsError("received TF32 on cpu; expected --device cuda with it")

    @property
    def charge_weights(self) -> dict[str, float]:
        """Weights of the terms that only students with charges have, by name."""
        if not self.architecture.charges:
            return {}
        return {
            "charge": self.charge_weight,
            "net_charge": self.net_charge_weight,
            "interaction": self.interaction_weight,
        }

    def total_steps(self, n_frames: int) -> int:
        """Steps of the whole run with ``n_frames`` to train on."""
        return self.steps or self.epochs * (n_frames // self.batch_size)

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
            architecture = PaiNNConfig.from_stored(stored.pop("architecture"))
            # Before there was a choice.
            stored.setdefault("optimizer", "adamw")
            if stored.get("start"):
                stored["start"] = Start(**stored["start"])
            if stored.get("distillation"):
                stored["distillation"] = Distillation(**stored["distillation"])
            if stored.get("extra"):
                extra = stored["extra"]
                stored["extra"] = ExtraFrames(**extra | {"paths": tuple(extra["paths"])})
            return cls(architecture=architecture, **stored)
        except (FileNotFoundError, NotADirectoryError):
            raise SettingsError(
                f"received {path.parent}, which has no {path.name}; expected a run folder made by "
                "`forcegate-train fit`"
            ) from None
        except (TypeError, KeyError, ValueError) as error:
            raise SettingsError(f"{path} is not a training configuration: {error}") from error
