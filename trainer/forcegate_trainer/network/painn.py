"""PaiNN: from edge vectors to atomic energies and their gradient."""

from typing import Final

import torch
from torch import Tensor, nn

from forcegate_trainer.network.config import PaiNNConfig
from forcegate_trainer.network.interaction import Message, Update, silu, silu_slope
from forcegate_trainer.network.radial import radial_functions

__all__ = ["DISTANCE_EPSILON", "ChargedPaiNN", "PaiNN"]

# Å²; keeps the distance and its gradient finite when two atoms coincide.
DISTANCE_EPSILON = 1e-10

# What every stage of the network returns: what is read out of each atom [N, 1 or 2] (its energy in
# eV, its charge in e), readout features [N, H], and the gradients of the energy by its own inputs
# s, v, unit and basis.
_Stage = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


class Readout(nn.Module):
    """Scalars to atomic energies and charges; where the way forward ends and the way back begins.

    With charges the energy that is derived is the sum of the atomic energies and of the Coulomb
    energy: the gradient by a charge is the potential at its atom.
    """

    charges: Final[bool]

    def __init__(self, width: int, hidden: int, *, charges: bool) -> None:
        super().__init__()
        self.charges = charges
        self.hidden = nn.Linear(width, hidden)
        self.last = nn.Linear(hidden, 2 if charges else 1)

    def forward(
        self,
        s: Tensor,
        v: Tensor,
        unit: Tensor,
        basis: Tensor,
        center: Tensor,
        neighbor: Tensor,
        pairs: list[Tensor],
    ) -> _Stage:
        """What is read out, and dE/ds; nothing here reads the vectors or the edges.

        ``pairs`` are first and second atom [P] of each pair, the Coulomb kernel [P] between them,
        and that of each atom with itself [N], in eV/e²; nothing without charges.
        """
        before = self.hidden(s)
        features = silu(before)
        out = self.last(features)
        if self.charges:
            first, second, kernel, own = pairs[0], pairs[1], pairs[2], pairs[3]
            charge = out[:, 1]
            potential = own * charge
            potential = potential.index_add(0, first, kernel * charge.index_select(0, second))
            potential = potential.index_add(0, second, kernel * charge.index_select(0, first))
            grad_out = torch.stack([torch.ones_like(potential), potential], 1)
            grad_features = torch.mm(grad_out, self.last.weight)
        else:
            grad_features = self.last.weight
        grad_s = torch.mm(grad_features * silu_slope(before), self.hidden.weight)
        zero = torch.zeros_like
        return out, features, grad_s, zero(v), zero(unit), zero(basis)


class Interaction(nn.Module):
    """A message, an update, and all that follows them.

    Holding what follows makes the way back the mirror of the way forward: each stage calls the
    next one, and continues with its own backward when the gradient returns.
    """

    def __init__(self, message: Message, update: Update, rest: nn.Module) -> None:
        super().__init__()
        self.message = message
        self.update = update
        self.rest = rest

    def forward(
        self,
        s: Tensor,
        v: Tensor,
        unit: Tensor,
        basis: Tensor,
        center: Tensor,
        neighbor: Tensor,
        pairs: list[Tensor],
    ) -> _Stage:
        """What is read out, and the gradients by s, v, unit [E, 3] and basis [E, R + 1]."""
        s, v, from_message = self.message(s, v, unit, basis, center, neighbor)
        s, v, from_update = self.update(s, v)
        out, features, grad_s, grad_v, grad_unit, grad_basis = self.rest(
            s, v, unit, basis, center, neighbor, pairs
        )
        grad_s, grad_v = self.update.backward(from_update, grad_s, grad_v)
        grad_s, grad_v, more_unit, more_basis = self.message.backward(
            from_message, grad_s, grad_v, unit, center, neighbor
        )
        return (
            out,
            features,
            grad_s,
            grad_v,
            grad_unit + more_unit,
            grad_basis + more_basis,
        )


class PaiNN(nn.Module):
    """Polarizable atom interaction network (Schütt et al. 2021, arXiv:2102.03150).

    Three departures from the paper: Bessel functions end in a C² envelope that multiplies every
    message, the first message and the last update leave out what can only be zero or unread, and
    the gradient by the edge vectors is written out.
    """

    cutoff: Final[float]
    n_radial: Final[int]
    distance_epsilon: Final[float]

    def __init__(self, config: PaiNNConfig) -> None:
        super().__init__()
        self.cutoff = config.cutoff
        self.n_radial = config.n_radial
        self.distance_epsilon = DISTANCE_EPSILON
        width = config.width
        self.embedding = nn.Embedding(len(config.elements), width)
        stages: nn.Module = Readout(width, config.readout_width, charges=config.charges)
        for k in reversed(range(config.depth)):
            stages = Interaction(
                Message(width, config.n_radial, first=k == 0),
                Update(width, last=k == config.depth - 1),
                rest=stages,
            )
        self.stages = stages
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(
        self, edge_vector: Tensor, element: Tensor, center: Tensor, neighbor: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Atomic energies and the gradient of their sum.

        ``edge_vector`` [E, 3] in Å, float64, from center to neighbor; ``element`` [N], the index
        of each atom's element; ``center`` and ``neighbor`` [E].

        Returns, in the network's type, the atomic energies [N] in eV without reference energies;
        in float64, dE/d(edge_vector) [E, 3] in eV/Å; and the features that enter the last linear
        layer [N, H].
        """
        no_pairs: list[Tensor] = []
        out, gradient, features = self.read_out(edge_vector, element, center, neighbor, no_pairs)
        return out.squeeze(1), gradient, features

    def read_out(
        self,
        edge_vector: Tensor,
        element: Tensor,
        center: Tensor,
        neighbor: Tensor,
        pairs: list[Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What :meth:`forward` returns, with charges in a second column beside the energies.

        ``pairs`` as in :class:`Readout`, in the network's type; empty without charges.
        """
        # Geometry stays in float64: the highest Bessel functions turn a rounding of the distance
        # into one twelve times as large, and their slopes again.
        distance = torch.sqrt((edge_vector * edge_vector).sum(1) + self.distance_epsilon)
        unit = edge_vector / distance.unsqueeze(1)
        basis, slope = radial_functions(distance, self.cutoff, self.n_radial)
        s = self.embedding(element)
        v = torch.zeros((s.shape[0], 3, s.shape[1]), dtype=s.dtype, device=s.device)
        out, features, _, _, grad_unit, grad_basis = self.stages(
            s, v, unit.to(s.dtype), basis.to(s.dtype), center, neighbor, pairs
        )
        grad_distance = (grad_basis * slope).sum(1)
        # unit = x/r: its gradient is what grad_unit has across the edge, over r.
        along = (grad_unit * unit).sum(1)
        across = (grad_unit - along.unsqueeze(1) * unit) / distance.unsqueeze(1)
        return out, across + grad_distance.unsqueeze(1) * unit, features


class ChargedPaiNN(PaiNN):
    """A PaiNN whose readout gives charges, and knows what they do to each other."""

    def forward(  # type: ignore[override]
        self,
        edge_vector: Tensor,
        element: Tensor,
        center: Tensor,
        neighbor: Tensor,
        first: Tensor,
        second: Tensor,
        kernel: Tensor,
        own: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Atomic energies and charges [N, 2], and the gradient of the sum of both energies.

        As :meth:`PaiNN.forward`, with pairs of atoms ``first`` and ``second`` [P], the Coulomb
        ``kernel`` [P] between them and each atom's ``own`` [N], in eV/e².
        """
        narrow = self.embedding.weight.dtype
        pairs = [first, second, kernel.to(narrow), own.to(narrow)]
        return self.read_out(edge_vector, element, center, neighbor, pairs)
