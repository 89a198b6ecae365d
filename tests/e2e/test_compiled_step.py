"""The compiled training step computes what the eager one does."""

import numpy as np
import pytest
import torch

from forcegate_trainer.painn.config import PRESETS
from forcegate_trainer.painn.potential import Potential
from forcegate_trainer.training.frames import frame_batch, structures_of
from forcegate_trainer.training.loss import loss
from support.datasets import labelled_dataset

pytestmark = pytest.mark.system


def test_loss_and_gradients_are_the_same_compiled_and_eager_for_changing_shapes() -> None:
    torch.manual_seed(0)
    model = Potential(PRESETS["painn_ultra_tiny"])
    dataset = labelled_dataset(frames_per_molecule=2)
    structures = structures_of(dataset)
    compiled = torch.compile(loss, dynamic=True)
    for frames in ([0, 1, 2, 3], [4, 9, 2], [12, 15, 1, 0, 7]):
        batch = frame_batch(dataset, structures, np.array(frames), 5.0)
        values, gradients = [], []
        for objective in (loss, compiled):
            model.zero_grad()
            value = objective(model, batch.inputs, batch.energies, batch.forces, 5.0)
            value.backward()
            values.append(value.item())
            gradients.append(torch.cat([p.grad.reshape(-1) for p in model.parameters()]))
        assert values[1] == pytest.approx(values[0], rel=1e-5)
        error = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
        assert error < 1e-4
