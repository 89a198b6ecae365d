"""Models under test."""

from pathlib import Path
from typing import TypeVar

import torch

from forcegate_service.contract.card import ModelCard
from forcegate_trainer.network.config import PRESETS
from forcegate_trainer.network.potential import Potential
from forcegate_trainer.network.sums import PotentialSums

Model = TypeVar("Model", bound=PotentialSums)

REPOSITORY = Path(__file__).parents[2] / "model_repository"


def random_potential(preset: str) -> Potential:
    """A potential in float64 with random weights, biases included."""
    torch.manual_seed(0)
    return random_weights(Potential(PRESETS[preset]).double())


def random_weights(model: Model) -> Model:
    """``model`` with random biases, and random numbers where a fit would leave its calibration."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(0.1 * torch.randn_like(parameter))
        for buffer in (model.reference_energies, model.novelty_mean):
            buffer.copy_(10.0 * torch.randn_like(buffer))
        for buffer in (model.uncertainty_factor, model.novelty_factor):
            buffer.copy_(0.1 * torch.randn_like(buffer))
    return model


def newest_version(model: str) -> Path:
    """The folder of the repository's newest version of ``model``."""
    return max((REPOSITORY / model).glob("[1-9]*"), key=lambda folder: int(folder.name))


def trained_models(charges: bool) -> list[str]:
    """``NAME/VERSION`` of the published students, with charges, or of those that end at their
    cutoff."""
    found = sorted(path.parent for path in REPOSITORY.glob("*/[1-9]*/model.pt"))
    chosen = [folder for folder in found if ModelCard.load(folder).charges == charges]
    return [f"{folder.parent.name}/{folder.name}" for folder in chosen]


def trained(version: str) -> torch.nn.Module:
    """What is published as ``NAME/VERSION``, in float64."""
    return torch.jit.load(str(REPOSITORY / version / "model.pt")).double()
