"""The settings of a training run, stored as JSON beside its checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from forcegate_trainer.errors import SettingsError
from forcegate_trainer.network.config import PaiNNConfig
from forcegate_trainer.settings import refuse_out_of_bounds, setting, settings_of

__all__ = ["DISTILLATION", "WHERE", "Distillation", "ExtraFrames", "FitConfig", "Start"]


# Where the help of `fit` lists them.
_LENGTH = "Length and validation"
_OPTIMISER = "Optimiser"
_CHARGES = "Students with charges: what else weighs in the loss"
WHERE = "Where it runs"
DISTILLATION = "Distillation: what a larger student adds"


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
class Distillation:
    """A mentor, and the weights of what it says about the training frames.

    ``mentor`` is the folder of an exported version, ``digest`` identifies its weights.
    ``atomic_energy_weight`` multiplies the mean |error| of atomic energies in eV,
    ``feature_weight`` the mean squared error of features in units of their spread,
    ``hessian_weight`` the mean norm of the error of Hessian rows in eV/Å². A weight of zero leaves
    its term out. ``hessian_rows`` are known of each frame, and in every step a ``hessian_share``
    of the frames is asked for one of them.
    """

    mentor: str
    digest: str
    atomic_energy_weight: float = setting(0.0, "Per eV.", panel=DISTILLATION, low=0)
    feature_weight: float = setting(0.0, "Per squared spread.", panel=DISTILLATION, low=0)
    hessian_weight: float = setting(0.0, "Per eV/Å².", panel=DISTILLATION, low=0)
    hessian_rows: int = setting(2, "Known of each frame.", panel=DISTILLATION, low=1)
    hessian_share: float = setting(
        0.25, "Of a batch, asked for a row.", panel=DISTILLATION, low=0, high=1
    )

    def __post_init__(self) -> None:
        refuse_out_of_bounds(self)
        if not any(self.weights.values()):
            raise SettingsError(
                f"received a mentor with the weights {self.weights}; expected one above zero: give "
                "--atomic-energy-weight, --feature-weight or --hessian-weight"
            )
        if not self.hessian_share:
            raise SettingsError(
                "received a share of 0.0 of frames that are asked for a Hessian row; expected more"
            )

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term, in the order in which the terms are computed."""
        return {
            "atomic_energy": self.atomic_energy_weight,
            "feature": self.feature_weight,
            "hessian": self.hessian_weight,
        }


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
    start: Start | None = None
    extra: ExtraFrames | None = None
    distillation: Distillation | None = None
    checkpoint_steps: int = 500
    seed: int = setting(0)

    epochs: int = setting(30, panel=_LENGTH, low=1, may_change=True)
    steps: int = setting(0, "Steps in all; 0: --epochs.", panel=_LENGTH, low=0, may_change=True)
    validate_steps: int = setting(
        0, "Between validations; 0: each epoch.", panel=_LENGTH, low=0, may_change=True
    )
    patience: int = setting(
        0,
        "Validations without a smaller loss that end the run; 0: none do.",
        panel=_LENGTH,
        low=0,
        may_change=True,
    )

    batch_size: int = setting(16, "Frames per step.", panel=_OPTIMISER, low=1)
    optimizer: str = setting("muon", "muon or adamw.", panel=_OPTIMISER)
    learning_rate: float = setting(3e-3, panel=_OPTIMISER, low=0)
    final_learning_rate: float = setting(1e-6, panel=_OPTIMISER, low=0, may_change=True)
    warmup_steps: int = setting(1000, panel=_OPTIMISER, low=0)
    weight_decay: float = setting(1e-3, panel=_OPTIMISER, low=0)
    clip_norm: float = setting(2.0, "Of the gradient.", panel=_OPTIMISER, low=0)
    ema_decay: float = setting(
        0.9995, "Of the average of weights.", panel=_OPTIMISER, low=0, high=1
    )
    energy_weight: float = setting(5.0, "eV per atom against eV/Å.", panel=_OPTIMISER, low=0)
    late_energy_weight: float | None = setting(
        None, "At the end of a ramp over the last fifth.", panel=_OPTIMISER, low=0, may_change=True
    )

    charge_weight: float = setting(2.0, "Per e, of an atom's.", panel=_CHARGES, low=0)
    net_charge_weight: float = setting(0.2, "Per e, of a molecule's.", panel=_CHARGES, low=0)
    interaction_weight: float = setting(1.0, "Per eV, of complexes.", panel=_CHARGES, low=0)

    workers: int = setting(
        1, "Processes; each takes one core.", panel=WHERE, low=1, may_change=True
    )
    device: str = setting("cpu", "cpu or cuda.", panel=WHERE, may_change=True)
    tf32: bool = setting(
        False,
        "Let a GPU round products to 10 bits.",
        panel=WHERE,
        flags=("--tf32",),
        may_change=True,
    )
    compile: bool = setting(
        True, "Compile the step: needs a C compiler.", panel=WHERE, may_change=True
    )

    def __post_init__(self) -> None:
        refuse_out_of_bounds(self)
        if self.batch_size % self.workers:
            raise SettingsError(
                f"received batch size {self.batch_size} for {self.workers} workers; expected a "
                "multiple of the workers"
            )
        if self.optimizer not in ("muon", "adamw"):
            raise SettingsError(f"received optimizer {self.optimizer!r}; expected muon or adamw")
        if self.ema_decay == 1:
            raise SettingsError(f"received an EMA decay of {self.ema_decay}; expected less than 1")
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

    def goes_on_from(self, before: FitConfig) -> bool:
        """Whether a run of these settings may go on from a checkpoint of a run of ``before``.

        How long it is may change (the schedule stretches), how it ends, and where it runs.
        """
        free: dict[str, Any] = {
            name: declared.default
            for name, (declared, described) in settings_of(self).items()
            if described.may_change
        }
        return replace(before, **free) == replace(self, **free)

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
