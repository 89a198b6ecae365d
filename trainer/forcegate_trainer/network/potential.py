"""The exported model's contract in torch: a flat graph in, energies, forces, virials out."""

from typing import cast

import torch
from torch import Tensor, nn

from forcegate_trainer.network.config import PaiNNConfig
from forcegate_trainer.network.painn import Interaction, PaiNN, Readout
from forcegate_trainer.network.sums import PotentialSums

__all__ = ["Potential", "last_layer"]


class Potential(PotentialSums):
    """A PaiNN with float64 sums around it; one pure function of a flat graph.

    ``network(edge_vector [E, 3], element [N], center [E], neighbor [E])`` returns atomic energies
    [N], dE/d(edge_vector) [E, 3] and the features of the last layer [N, H].

    Edge vectors, distances and radial functions are formed in float64 before the cast to the
    network's type; atomic energies and edge gradients go to float64 before they are summed, so
    that the net force vanishes and molecular dynamics sees no rounding steps. Reference energies
    are added last.
    """

    def __init__(self, config: PaiNNConfig) -> None:
        super().__init__(PaiNN(config), config.elements, config.readout_width)

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


def last_layer(model: Potential) -> nn.Linear:
    """The linear layer that turns features into atomic energies, reference energies left out."""
    stage = cast(PaiNN, model.network).stages
    while isinstance(stage, Interaction):
        stage = stage.rest
    return cast(Readout, stage).last
