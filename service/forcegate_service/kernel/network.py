"""The kernel as a module that stands where the trainer's PaiNN stands."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from forcegate_service.graph_potential import GraphPotential
from forcegate_service.kernel.packing import Packing
from forcegate_service.kernel.shape import KernelShape

__all__ = ["KernelNetwork", "KernelPotential", "kernel_potential"]

_NETWORK = "network."


class KernelNetwork(nn.Module):
    """A PaiNN that is evaluated by the kernel, which must be loaded.

    Edges must be sorted by center, and every pair listed in both directions.
    """

    packed: Tensor

    def __init__(self, shape: KernelShape, state: Mapping[str, Tensor], lanes: int) -> None:
        super().__init__()
        packing = Packing(lanes)
        self.shape = shape
        self.widths = packing.padded(shape.width), packing.padded(shape.readout_width)
        self.register_buffer("packed", packing.pack(state, shape))

    def forward(
        self, edge_vector: Tensor, element: Tensor, center: Tensor, neighbor: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Atomic energies [N] in eV, dE/d(edge_vector) [E, 3] in eV/Å, last features [N, H].

        ``edge_vector`` [E, 3] in Å, float64, from center to neighbor; ``element`` [N], the index
        of each atom's element; ``center`` and ``neighbor`` [E].
        """
        shape = self.shape
        answer: tuple[Tensor, Tensor, Tensor] = torch.ops.forcegate.painn(
            *(edge_vector, element, center, neighbor, self.packed),
            *(*self.widths, shape.readout_width, shape.depth),
            *(shape.n_radial + 1, len(shape.elements), shape.cutoff),
        )
        return answer


class KernelPotential(GraphPotential):
    """A potential whose sums over edges are the kernel's too.

    Generated code adds atomically, several times slower than a loop along sorted edges.
    """

    def collect(
        self,
        edge_vector: Tensor,
        gradient: Tensor,
        center: Tensor,
        neighbor: Tensor,
        structure_index: Tensor,
        n_atoms: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Forces [N, 3] and −Σ edge_vector ⊗ gradient [B, 3, 3] from gradients by edge vectors."""
        sums: tuple[Tensor, Tensor] = torch.ops.forcegate.collect(
            edge_vector, gradient, center, neighbor, structure_index, n_atoms
        )
        return sums


def kernel_potential(
    shape: KernelShape, state: Mapping[str, Tensor], lanes: int
) -> KernelPotential:
    """The potential whose weights and buffers ``state`` holds, with the kernel in it.

    ``state`` is the state dict of an exported model.

    Raises:
        KeyError: if something is missing in it.
        RuntimeError: if something has another shape.
    """
    network = {
        name.removeprefix(_NETWORK): value
        for name, value in state.items()
        if name.startswith(_NETWORK)
    }
    potential = KernelPotential(
        KernelNetwork(shape, network, lanes), shape.elements, shape.readout_width
    )
    around = {name: value for name, value in state.items() if not name.startswith(_NETWORK)}
    potential.load_state_dict(around | {"network.packed": potential.network.packed})
    return potential.eval()
