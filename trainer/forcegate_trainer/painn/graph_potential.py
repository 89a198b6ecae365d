"""The exported model's contract in torch: a flat graph in, energies, forces, virials out.

Around the network of a student, which sees edge vectors alone, stand the sums that every student
needs.
"""

import torch
from torch import Tensor, nn

__all__ = ["GraphPotential", "PotentialSums"]


class PotentialSums(nn.Module):
    """The float64 sums around a network, and the buffers that they need."""

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
        # σ = |Σ features @ uncertainty_factor|, see forcegate_trainer.uncertainty.
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


class GraphPotential(PotentialSums):
    """A network with float64 sums around it; one pure function of a flat graph.

    ``network(edge_vector [E, 3], element [N], center [E], neighbor [E])`` returns atomic energies
    [N], dE/d(edge_vector) [E, 3] and the features of the last layer [N, H].

    Edge vectors, distances and radial functions are formed in float64 before the cast to the
    network's type; atomic energies and edge gradients go to float64 before they are summed, so
    that the net force vanishes and molecular dynamics sees no rounding steps. Reference energies
    are added last.
    """

    def forward(
        self,
        positions: Tensor,
        atomic_numbers: Tensor,
        edge_index: Tensor,
        edge_shift: Tensor,
        structure_index: Tensor,
        n_atoms: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Evaluate ``B`` structures with ``N`` atoms and ``E`` directed edges.

        ``positions`` [N, 3] in Å and ``edge_shift`` [E, 3] in Å, float64; ``atomic_numbers`` [N],
        ``edge_index`` [2, E] (center, neighbor), ``structure_index`` [N] and ``n_atoms`` [B].

        Returns, all float64: energy [B] in eV, forces [N, 3] in eV/Å, virial [B, 3, 3] in eV,
        energy_uncertainty [B] in eV, atom_novelty [N].
        """
        energy, forces, virial, element, features = self.evaluate(
            positions, atomic_numbers, edge_index, edge_shift, structure_index, n_atoms
        )
        uncertainty, novelty = self.confidence(features, element, structure_index, n_atoms)
        return energy, forces, virial, uncertainty, novelty

    def evaluate(
        self,
        positions: Tensor,
        atomic_numbers: Tensor,
        edge_index: Tensor,
        edge_shift: Tensor,
        structure_index: Tensor,
        n_atoms: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Energy [B], forces [N, 3], virial [B, 3, 3], element index [N], features [N, H]."""
        center, neighbor = edge_index[0], edge_index[1]
        element = self.element_of.index_select(0, atomic_numbers)
        edge_vector = (
            positions.index_select(0, neighbor) - positions.index_select(0, center) + edge_shift
        )
        atomic, gradient, features = self.network(edge_vector, element, center, neighbor)
        reference = self.reference_energies.index_select(0, element)
        n_structures = n_atoms.shape[0]
        double, device = torch.float64, positions.device
        zero = torch.zeros(n_structures, dtype=double, device=device)
        # Two sums: the small network energies keep their digits beside thousands of eV.
        energy = zero.index_add(0, structure_index, atomic.to(double)) + zero.index_add(
            0, structure_index, reference
        )
        forces, virial = self.collect(
            edge_vector, gradient, center, neighbor, structure_index, n_atoms
        )
        return energy, forces, 0.5 * (virial + virial.transpose(1, 2)), element, features
