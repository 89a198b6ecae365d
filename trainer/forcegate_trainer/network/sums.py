"""The float64 sums that every student needs around its network, which sees edge vectors alone."""

import torch
from torch import Tensor, nn

__all__ = ["PotentialSums"]


class PotentialSums(nn.Module):
    """The sums around a network, and the buffers that they need."""

    element_of: Tensor
    reference_energies: Tensor
    uncertainty_factor: Tensor
    novelty_mean: Tensor
    novelty_factor: Tensor

    def __init__(self, network: nn.Module, elements: tuple[int, ...], features: int) -> None:
        super().__init__()
        self.network = network
        element_of = torch.zeros(max(elements) + 1, dtype=torch.int64)
        element_of[list(elements)] = torch.arange(len(elements))
        double = torch.float64
        self.register_buffer("element_of", element_of)
        self.register_buffer("reference_energies", torch.zeros(len(elements), dtype=double))
        # σ = |Σ features @ uncertainty_factor|, see forcegate_trainer.export.uncertainty.
        self.register_buffer("uncertainty_factor", torch.zeros((features, features), dtype=double))
        self.register_buffer("novelty_mean", torch.zeros((len(elements), features), dtype=double))
        self.register_buffer("novelty_factor", torch.zeros((features, features), dtype=double))

    def confidence(
        self, features: Tensor, element: Tensor, structure_index: Tensor, n_atoms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """energy_uncertainty [B] in eV and atom_novelty [N] of the last layer's features [N, H]."""
        wide = features.to(torch.float64)
        total = torch.zeros(
            (n_atoms.shape[0], wide.shape[1]), dtype=torch.float64, device=wide.device
        ).index_add(0, structure_index, wide)
        uncertainty = torch.sqrt(torch.mm(total, self.uncertainty_factor).square().sum(1))
        offset = wide - self.novelty_mean.index_select(0, element)
        novelty = torch.sqrt(torch.mm(offset, self.novelty_factor).square().mean(1))
        return uncertainty, novelty

    def collect(
        self,
        edge_vector: Tensor,
        gradient: Tensor,
        center: Tensor,
        neighbor: Tensor,
        structure_index: Tensor,
        n_atoms: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Forces [N, 3] and −Σ edge_vector ⊗ gradient [B, 3, 3] from gradients by edge vectors.

        What an edge gives to its center it takes from its neighbor: the net force vanishes.
        """
        double, device = torch.float64, gradient.device
        forces = (
            torch.zeros((structure_index.shape[0], 3), dtype=double, device=device)
            .index_add(0, center, gradient)
            .index_add(0, neighbor, -gradient)
        )
        outer = (edge_vector.unsqueeze(2) * gradient.unsqueeze(1)).reshape(-1, 9)
        owner = structure_index.index_select(0, center)
        virial = (
            -torch.zeros((n_atoms.shape[0], 9), dtype=double, device=device)
            .index_add(0, owner, outer)
            .reshape(-1, 3, 3)
        )
        return forces, virial
