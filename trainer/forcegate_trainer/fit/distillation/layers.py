"""Where atomic energies and features of a student come from."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from forcegate_trainer.network.painn import Interaction, PaiNN, Readout
from forcegate_trainer.network.potential import Potential

__all__ = ["feature_map", "last_layer"]


def last_layer(model: Potential) -> nn.Linear:
    """The linear layer that turns features into atomic energies, reference energies left out."""
    stage = cast(PaiNN, model.network).stages
    while isinstance(stage, Interaction):
        stage = stage.rest
    return cast(Readout, stage).last


def feature_map(model: Potential, mentor_features: int) -> nn.Linear:
    """A linear map from the student's features [N, H] to the mentor's [N, H'].

    It is trained with the student and thrown away after it (node-to-node distillation,
    arXiv:2306.14818). Its first weights are the same in every process.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Linear(last_layer(model).in_features, mentor_features)
