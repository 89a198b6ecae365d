"""The same network as most people run one: eager, its forces from autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from forcegate_trainer.network.potential import Potential
from forcegate_trainer.network.radial import bessel, envelope

__all__ = ["EagerPotential"]

_DISTANCE_EPSILON = 1e-10
_NORM_EPSILON = 1e-4


class EagerPotential:
    """PaiNN written with torch's usual operations over the weights of a ``Potential``.

    Symbols as in the model: ``s`` [N, F], ``v`` [N, 3, F]. Geometry is in float64 as it is there,
    so that the forces of both agree. Neither virial nor uncertainty is computed.
    """

    def __init__(self, potential: Potential) -> None:
        self._potential = potential
        # What torch makes of a module's parts has no types.
        self._network: Any = potential.network
        self._layers: list[tuple[Any, Any]] = []
        stage: Any = self._network.stages
        while hasattr(stage, "rest"):
            self._layers.append((stage.message, stage.update))
            stage = stage.rest
        self._readout = stage

    def __call__(
        self,
        positions: Tensor,
        atomic_numbers: Tensor,
        edge_index: Tensor,
        edge_shift: Tensor,
        structure_index: Tensor,
        n_atoms: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Energy [B] in eV and forces [N, 3] in eV/Å."""
        moving = positions.detach().requires_grad_()
        center, neighbor = edge_index[0], edge_index[1]
        element = self._potential.element_of[atomic_numbers]
        edge_vector = moving[neighbor] - moving[center] + edge_shift
        atomic = self._atomic_energies(edge_vector, element, center, neighbor).to(torch.float64)
        (gradient,) = torch.autograd.grad(atomic.sum(), moving)
        atomic = atomic.detach() + self._potential.reference_energies[element]
        energy = atomic.new_zeros(len(n_atoms)).index_add(0, structure_index, atomic)
        return energy, -gradient

    def _atomic_energies(
        self, edge_vector: Tensor, element: Tensor, center: Tensor, neighbor: Tensor
    ) -> Tensor:
        network = self._network
        distance = (edge_vector.square().sum(1) + _DISTANCE_EPSILON).sqrt()
        s = network.embedding(element)
        v = s.new_zeros(len(s), 3, s.shape[1])
        unit = (edge_vector / distance[:, None]).to(s.dtype)
        basis = bessel(distance, network.cutoff, network.n_radial)[0].to(s.dtype)
        step = envelope(distance, network.cutoff)[0].to(s.dtype)[:, None]
        for message, update in self._layers:
            parts = 2 if message.first else 3
            phi = message.phi(functional.silu(message.hidden(s)))
            edge = (phi[neighbor] * message.filter(basis) * step).chunk(parts, 1)
            to_v = unit[:, :, None] * edge[1][:, None, :]
            if not message.first:
                to_v = to_v + edge[2][:, None, :] * v[neighbor]
            s = s.index_add(0, center, edge[0])
            v = v.index_add(0, center, to_v)
            uv, vv = update.mix(v).chunk(2, 2)
            norm = (vv.square().sum(1) + _NORM_EPSILON).sqrt()
            gate = update.gate(functional.silu(update.hidden(torch.cat([s, norm], 1))))
            gate = gate.chunk(2 if update.last else 3, 1)
            s = s + gate[0] + gate[1] * (uv * vv).sum(1)
            if not update.last:
                v = v + gate[2][:, None, :] * uv
        energies: Tensor = self._readout.last(functional.silu(self._readout.hidden(s)))
        return energies.squeeze(1)
