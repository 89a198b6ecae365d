"""The compiled training step computes what the eager one does, for any shape."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from forcegate_trainer.painn.config import PRESETS
from forcegate_trainer.painn.potential import Potential
from forcegate_trainer.training.config import FitConfig
from forcegate_trainer.training.frames import frame_batch
from forcegate_trainer.training.graphs import FrameGraphs
from forcegate_trainer.training.step import TrainingStep
from support.datasets import labelled_dataset

pytestmark = pytest.mark.system

_CONFIG = FitConfig(
    model="painn_ultra_tiny",
    architecture=PRESETS["painn_ultra_tiny"],
    datasets=(),
    dataset_hash="",
    epochs=1,
)
_RATE = 1e-3


def test_steps_are_the_same_compiled_and_eager_and_changing_shapes_compile_at_most_twice() -> None:
    dataset = labelled_dataset(frames_per_molecule=12)
    graphs = FrameGraphs.build(dataset, 5.0)
    rng = np.random.default_rng(0)
    steps = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = Potential(_CONFIG.architecture)
        steps.append(TrainingStep(model, replace(_CONFIG, compile=compiled)))
    torch._dynamo.reset()
    counters.clear()
    # From less than a hundred edges to more than 4,096, where generated code may change.
    for number, size in enumerate((4, 3, 5, 16, 90, 1, 7, 100, 16)):
        batch = frame_batch(dataset, graphs, rng.permutation(len(dataset))[:size])
        values, gradients = [], []
        for take_step in steps:
            value, _ = take_step(batch, _RATE, number)
            values.append(value)
            gradients.append(torch.cat([p.grad.reshape(-1) for p in take_step.model.parameters()]))
        assert values[1] == pytest.approx(values[0], rel=1e-5)
        error = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
        assert error < 1e-4
        # AdamW turns a rounding of a gradient near zero into a whole step.
        steps[1].model.load_state_dict(steps[0].model.state_dict())
    assert counters["stats"]["unique_graphs"] <= 2
