"""Muon does what torch's own does, for many matrices at once, and for matrices alone."""

import pytest
import torch
from torch import Tensor, nn

from forcegate_trainer.fit.config import FitConfig
from forcegate_trainer.fit.muon import Muon, orthogonalised
from forcegate_trainer.fit.optimizers import make_optimizers
from forcegate_trainer.network.config import PRESETS
from forcegate_trainer.network.potential import Potential

SHAPES = ((12, 12), (36, 12), (12, 24), (36, 7))


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_become_about_one_and_directions_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    matrices = torch.randn(5, *shape) * torch.logspace(-3, 3, 5)[:, None, None]
    made = orthogonalised(matrices)
    assert made.shape == matrices.shape
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.6
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    core = left.mT @ made @ right.mT
    rest = core - torch.diag_embed(torch.diagonal(core, dim1=1, dim2=2))
    assert rest.abs().max() < 1e-4


def test_many_matrices_together_are_as_each_alone() -> None:
    torch.manual_seed(2)
    matrices = torch.randn(4, 36, 12)
    together = orthogonalised(matrices)
    for one, whole in zip(matrices, together, strict=True):
        assert torch.allclose(orthogonalised(one[None])[0], whole, atol=1e-6)


def test_it_moves_as_the_one_of_torch() -> None:
    """Which rounds to bfloat16: updates agree to a few per cent, momentum and decay included."""
    torch.manual_seed(3)
    ours = [nn.Parameter(torch.randn(shape)) for shape in (*SHAPES, SHAPES[1])]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    start = [p.detach().clone() for p in ours]
    muon = Muon(ours, lr=0.02, weight_decay=0.1, block=1000)
    reference = torch.optim.Muon(
        theirs, lr=0.02, weight_decay=0.1, nesterov=True, adjust_lr_fn="match_rms_adamw"
    )
    for _ in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        muon.step()
        reference.step()
    for one, other, before in zip(ours, theirs, start, strict=True):
        moved = other.detach() - before
        assert torch.linalg.norm(one.detach() - other.detach()) < 0.03 * torch.linalg.norm(moved)


@pytest.mark.parametrize("shape", [(36, 12), (12, 24), (12, 12)])
def test_stacked_maps_move_as_each_of_them_alone(shape: tuple[int, int]) -> None:
    torch.manual_seed(4)
    whole = nn.Parameter(torch.randn(shape))
    whole.grad = torch.randn(shape)
    along = 0 if shape[0] > shape[1] else 1
    pieces = [nn.Parameter(p.detach().clone()) for p in whole.split(12, dim=along)]
    for piece, gradient in zip(pieces, whole.grad.split(12, dim=along), strict=True):
        piece.grad = gradient.clone()
    Muon([whole], lr=0.02, weight_decay=0.1, block=12).step()
    Muon(pieces, lr=0.02, weight_decay=0.1, block=12).step()
    assert torch.allclose(whole, torch.cat(pieces, dim=along), atol=1e-6)


def test_what_is_no_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="expected matrices"):
        Muon([nn.Parameter(torch.zeros(3))], lr=1e-3, weight_decay=0.0, block=3)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_every_weight_has_one_optimiser_and_the_embedding_is_not_muons(optimizer: str) -> None:
    model = Potential(PRESETS["painn_ultra_tiny"])
    config = FitConfig(
        model="painn_ultra_tiny",
        architecture=PRESETS["painn_ultra_tiny"],
        datasets=(),
        dataset_hash="",
        epochs=1,
        optimizer=optimizer,
    )
    mapping = nn.Linear(3, 4)
    moved: list[Tensor] = []
    for made in make_optimizers(model, mapping, config):
        for group in made.param_groups:
            moved += group["params"]
            if isinstance(made, Muon):
                assert all(min(parameter.shape) > 7 for parameter in group["params"])
    expected = [*model.parameters(), *mapping.parameters()]
    assert sorted(map(id, moved)) == sorted(map(id, expected))
