"""What a student takes from its mentor, stored with the settings of its run."""

from __future__ import annotations

from dataclasses import dataclass

from forcegate_trainer.errors import SettingsError

__all__ = ["Distillation"]


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
    atomic_energy_weight: float = 0.0
    feature_weight: float = 0.0
    hessian_weight: float = 0.0
    hessian_rows: int = 2
    hessian_share: float = 0.25

    def __post_init__(self) -> None:
        weights = self.weights
        if min(weights.values()) < 0 or not any(weights.values()):
            raise SettingsError(
                f"received a mentor with the weights {weights}; expected none below zero and one "
                "above it: give --atomic-energy-weight, --feature-weight or --hessian-weight"
            )
        if self.hessian_rows < 1 or not 0 < self.hessian_share <= 1:
            raise SettingsError(
                f"received {self.hessian_rows} Hessian rows for a share of {self.hessian_share}; "
                "expected at least one row and a share above 0, up to 1"
            )

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term, in the order in which the terms are computed."""
        return {
            "atomic_energy": self.atomic_energy_weight,
            "feature": self.feature_weight,
            "hessian": self.hessian_weight,
        }
