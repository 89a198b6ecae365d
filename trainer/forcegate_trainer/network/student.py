"""A student of any shape: with charges, or without."""

from forcegate_trainer.network.charged_potential import ChargedPotential
from forcegate_trainer.network.config import PaiNNConfig
from forcegate_trainer.network.potential import Potential

__all__ = ["Student", "student"]

Student = Potential | ChargedPotential


def student(config: PaiNNConfig) -> Student:
    """A student of that shape with random weights."""
    return ChargedPotential(config) if config.charges else Potential(config)
