"""A PaiNN with charges, in the sums that make it a potential at all distances."""

from typing import Final

import torch
from torch import Tensor

from forcegate_trainer.network.config import PaiNNConfig
from forcegate_trainer.network.painn import DISTANCE_EPSILON, ChargedPaiNN
from forcegate_trainer.network.pair_physics import PairPhysics
from forcegate_trainer.network.sums import PotentialSums

__all__ = ["ChargedPotential"]


class ChargedPotential(PotentialSums):
    """E = Σ E_ref + Σ e_i + E_Coulomb(q) + E_dispersion + E_core; one pure function of a graph.

    The network sees edges within its cutoff alone; charges come out of it and sum to the net charge
    by what it has learned. Nothing equalises them, so that parts far from each other know of each
    other by physics alone. Pairs are in float64, as are all sums.
    """

    distance_epsilon: Final[float]

    def __init__(self, config: PaiNNConfig) -> None:
        super().__init__(ChargedPaiNN(config), config.elements, config.readout_width)
        self.physics = PairPhysics(config.elements)
        self.distance_epsilon = DISTANCE_EPSILON

    def forward(
        self,
        positions: Tensor,
        atomic_numbers: Tensor,
        edge_index: Tensor,
        edge_shift: Tensor,
        structure_index: Tensor,
        n_atoms: Tensor,
        pair_index: Tensor,
        pair_shift: Tensor,
        pair_cutoff: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Evaluate ``B`` structures with ``N`` atoms, ``E`` directed edges and ``P`` pairs.

        Inputs as those of the graph without charges, and ``pair_index`` [2, P], each pair of atoms
        once; ``pair_shift`` [P, 3] in Å, as the edges'; ``pair_cutoff`` [B] in Å, where pairs end
        (0: all pairs of the structure are listed).

        Returns, all float64: energy [B] in eV, forces [N, 3] in eV/Å, virial [B, 3, 3] in eV,
        energy_uncertainty [B] in eV, atom_novelty [N], charges [N] in e.
        """
        energy, forces, virial, charges, element, features = self.evaluate(
            positions, atomic_numbers, edge_index, edge_shift, structure_index, n_atoms,
            pair_index, pair_shift, pair_cutoff,
        )  # fmt: skip
        uncertainty, novelty = self.confidence(features, element, structure_index, n_atoms)
        return energy, forces, virial, uncertainty, novelty, charges

    def evaluate(
        self,
        positions: Tensor,
        atomic_numbers: Tensor,
        edge_index: Tensor,
        edge_shift: Tensor,
        structure_index: Tensor,
        n_atoms: Tensor,
        pair_index: Tensor,
        pair_shift: Tensor,
        pair_cutoff: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Energy [B], forces [N, 3], virial [B, 3, 3], charges [N], element [N], features."""
        element = self.element_of.index_select(0, atomic_numbers)
        first, second = pair_index[0], pair_index[1]
        pair_vector = (
            positions.index_select(0, second) - positions.index_select(0, first) + pair_shift
        )
        distance = torch.sqrt((pair_vector * pair_vector).sum(1) + self.distance_epsilon)
        owner = structure_index.index_select(0, first)
        kernel, kernel_slope, known, known_slope = self.physics(
            distance,
            element.index_select(0, first),
            element.index_select(0, second),
            pair_cutoff.index_select(0, owner),
        )
        own = self.physics.own_kernel(pair_cutoff).index_select(0, structure_index)

        center, neighbor = edge_index[0], edge_index[1]
        edge_vector = (
            positions.index_select(0, neighbor) - positions.index_select(0, center) + edge_shift
        )
        out, gradient, features = self.network(
            edge_vector, element, center, neighbor,
            first, second, kernel, own,
        )  # fmt: skip
        out = out.to(torch.float64)
        charges = out[:, 1]
        products = charges.index_select(0, first) * charges.index_select(0, second)
        atomic = out[:, 0] + 0.5 * own * charges * charges
        zero = torch.zeros(n_atoms.shape[0], dtype=torch.float64, device=positions.device)
        reference = self.reference_energies.index_select(0, element)
        # Sums of their own: the small energies keep their digits beside thousands of eV.
        energy = (
            zero.index_add(0, structure_index, atomic)
            + zero.index_add(0, owner, products * kernel + known)
            + zero.index_add(0, structure_index, reference)
        )
        forces, virial = self.collect(
            edge_vector, gradient, center, neighbor, structure_index, n_atoms
        )
        along = (products * kernel_slope + known_slope) / distance
        pair_forces, pair_virial = self.collect(
            pair_vector, along.unsqueeze(1) * pair_vector, first, second, structure_index, n_atoms
        )
        virial = virial + pair_virial
        virial = 0.5 * (virial + virial.transpose(1, 2))
        return energy, forces + pair_forces, virial, charges, element, features
