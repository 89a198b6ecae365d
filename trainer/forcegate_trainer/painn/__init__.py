"""PaiNN with its gradient written out: one readable source for training, export and serving."""

from forcegate_trainer.painn.charged_potential import ChargedPotential
from forcegate_trainer.painn.config import PaiNNConfig
from forcegate_trainer.painn.potential import Potential

__all__ = ["PaiNNConfig", "Student", "student"]

Student = Potential | ChargedPotential


def student(config: PaiNNConfig) -> Student:
    """A student of that shape with random weights."""
    return ChargedPotential(config) if config.charges else Potential(config)
