"""What an error weighs in the loss of a student."""

import pytest
import torch
from torch import Tensor

from forcegate_trainer.fit.loss import energy_errors, mean_norm, robust

ATOMS = torch.tensor([10.0, 10.0, 10.0])


def slopes(error: Tensor, weigh: object) -> Tensor:
    error = error.clone().requires_grad_(True)
    weigh(error).sum().backward()  # type: ignore[operator]
    assert error.grad is not None
    return error.grad


def test_an_energy_that_is_nearly_right_pulls_less_than_one_that_is_wrong() -> None:
    error = torch.tensor([0.01, 0.1, 5.0])
    small, larger, wrong = slopes(error, lambda x: energy_errors(x, ATOMS)).tolist()
    assert small == pytest.approx(0.1 * larger, rel=1e-3)
    assert larger < wrong
    # Too low pulls up as strongly as too high pulls down.
    down = slopes(-error, lambda x: energy_errors(x, ATOMS)).tolist()
    assert down == pytest.approx([-small, -larger, -wrong])


def test_a_frame_that_a_student_explodes_on_does_not_drown_all_others() -> None:
    ordinary, exploding = torch.tensor([[0.1, 0.0, 0.0]]), torch.tensor([[1e11, 0.0, 0.0]])
    count = torch.tensor(2.0)
    together = float(mean_norm(torch.cat([ordinary, exploding]), count))
    assert float(mean_norm(ordinary, count)) < together < 200.0
    pull = slopes(exploding, lambda x: mean_norm(x, count))
    # A step that scales the forces down scales this error down: by its share of the error.
    assert 0.0 < float((pull * exploding).sum()) <= 10.0


def test_errors_of_thermal_frames_count_as_they_are() -> None:
    error = torch.tensor([[0.3, 0.0, 0.4], [0.0, -2.0, 0.0]], dtype=torch.float64)
    assert float(mean_norm(error, torch.tensor(2.0))) == pytest.approx((0.5 + 2.0) / 2, rel=1e-6)


@pytest.mark.parametrize("knee", [0.0, 0.2])
def test_a_larger_error_never_weighs_less(knee: float) -> None:
    error = torch.logspace(-6, 12, 4000, dtype=torch.float64)
    weight = robust(error, 1.0, knee)
    assert bool((weight[1:] > weight[:-1]).all())
    assert bool(torch.isfinite(weight).all())
    assert float(robust(torch.zeros(1), 1.0, knee)) == 0.0
