"""One PaiNN interaction, forward and backward.

Symbols of the paper (Schütt et al. 2021, arXiv:2102.03150): ``s`` scalar features [N, F], ``v``
vector features [N, 3, F], ``phi`` the atom-wise message network, ``W`` the radial filters, ``U``
and ``V`` the linear maps of the update, ``a`` the gates. ``grad_x`` is dE/dx.

Each ``forward`` returns what ``backward`` needs, so that forces cost one pass back and no
autograd. Both are plain scriptable torch, and autograd through both gives the training gradients.
"""

from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["Message", "Update", "silu", "silu_slope"]

# Under the root of |V v|: a smaller one makes the curvature explode near symmetric structures.
_NORM_EPSILON = 1e-4


def silu(x: Tensor) -> Tensor:
    """x · sigmoid(x)."""
    return x * torch.sigmoid(x)


def silu_slope(x: Tensor) -> Tensor:
    """The derivative of ``silu``."""
    gate = torch.sigmoid(x)
    return gate * (1.0 + x * (1.0 - gate))


class Message(nn.Module):
    """Sum over neighbors of phi(s_j) · W(r_ij), for scalars and vectors.

    The first message finds v = 0, so its term with v_j has no weights.
    """

    first: Final[bool]

    def __init__(self, width: int, n_radial: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        parts = 2 if first else 3
        self.hidden = nn.Linear(width, width)
        self.phi = nn.Linear(width, parts * width)
        self.filter = nn.Linear(n_radial, parts * width)

    def forward(
        self,
        s: Tensor,
        v: Tensor,
        unit: Tensor,
        basis: Tensor,
        center: Tensor,
        neighbor: Tensor,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Messages into every atom.

        ``unit`` [E, 3] points from center to neighbor, ``basis`` [E, R + 1].
        Returns the new s and v, and what ``backward`` needs.
        """
        width = s.shape[1]
        before = self.hidden(s)
        phi = self.phi(silu(before)).index_select(0, neighbor)
        weight = torch.mm(basis, self.filter_matrix().t())
        message = phi * weight
        to_s = message[:, :width]
        along = message[:, width : 2 * width]
        to_v = unit.unsqueeze(2) * along.unsqueeze(1)
        if not self.first:
            to_v = to_v + message[:, 2 * width :].unsqueeze(1) * v.index_select(0, neighbor)
        s_out = s.index_add(0, center, to_s)
        v_out = v.index_add(0, center, to_v)
        return s_out, v_out, [before, phi, weight, message, v]

    def backward(
        self,
        saved: list[Tensor],
        grad_s: Tensor,
        grad_v: Tensor,
        unit: Tensor,
        center: Tensor,
        neighbor: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """dE/ds and dE/dv before the message; dE/d(unit, basis) of its edges."""
        before, phi, weight, message, v = saved[0], saved[1], saved[2], saved[3], saved[4]
        width = grad_s.shape[1]
        along = message[:, width : 2 * width]
        grad_to_s = grad_s.index_select(0, center)
        grad_to_v = grad_v.index_select(0, center)
        grad_along = (grad_to_v * unit.unsqueeze(2)).sum(1)
        grad_unit = (grad_to_v * along.unsqueeze(1)).sum(2)
        grad_v_in = grad_v
        if self.first:
            grad_message = torch.cat([grad_to_s, grad_along], 1)
        else:
            grad_scaled = (grad_to_v * v.index_select(0, neighbor)).sum(1)
            grad_message = torch.cat([grad_to_s, grad_along, grad_scaled], 1)
            back = message[:, 2 * width :].unsqueeze(1) * grad_to_v
            grad_v_in = grad_v.index_add(0, neighbor, back)
        grad_basis = torch.mm(grad_message * phi, self.filter_matrix())
        grad_phi = torch.zeros(
            (before.shape[0], weight.shape[1]), dtype=before.dtype, device=before.device
        ).index_add(0, neighbor, grad_message * weight)
        grad_before = torch.mm(grad_phi, self.phi.weight) * silu_slope(before)
        grad_s_in = grad_s + torch.mm(grad_before, self.hidden.weight)
        return grad_s_in, grad_v_in, grad_unit, grad_basis

    def filter_matrix(self) -> Tensor:
        """Weights and bias of the filters [parts · F, R + 1]."""
        return torch.cat([self.filter.weight, self.filter.bias.unsqueeze(1)], 1)


class Update(nn.Module):
    """Atom-wise mixing of scalars and vectors, gated by invariants.

    After the last update only scalars are read out, so it has no gate for the vectors.
    """

    last: Final[bool]
    norm_epsilon: Final[float]

    def __init__(self, width: int, *, last: bool) -> None:
        super().__init__()
        self.last = last
        self.norm_epsilon = _NORM_EPSILON
        self.mix = nn.Linear(width, 2 * width, bias=False)
        self.hidden = nn.Linear(2 * width, width)
        self.gate = nn.Linear(width, (2 if last else 3) * width)

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The new s and v, and what ``backward`` needs."""
        width = s.shape[1]
        mixed = self.mix(v)
        uv = mixed[:, :, :width]
        vv = mixed[:, :, width:]
        norm = torch.sqrt((vv * vv).sum(1) + self.norm_epsilon)
        inner = (uv * vv).sum(1)
        before = self.hidden(torch.cat([s, norm], 1))
        gate = self.gate(silu(before))
        s_out = s + gate[:, :width] + gate[:, width : 2 * width] * inner
        if not self.last:
            v = v + gate[:, 2 * width :].unsqueeze(1) * uv
        return s_out, v, [mixed, norm, inner, before, gate]

    def backward(
        self, saved: list[Tensor], grad_s: Tensor, grad_v: Tensor
    ) -> tuple[Tensor, Tensor]:
        """dE/ds and dE/dv before the update. After the last one ``grad_v`` is not read."""
        mixed, norm, inner, before, gate = saved[0], saved[1], saved[2], saved[3], saved[4]
        width = grad_s.shape[1]
        uv = mixed[:, :, :width]
        vv = mixed[:, :, width:]
        grad_inner = grad_s * gate[:, width : 2 * width]
        if self.last:
            grad_gate = torch.cat([grad_s, grad_s * inner], 1)
        else:
            grad_gate = torch.cat([grad_s, grad_s * inner, (grad_v * uv).sum(1)], 1)
        grad_before = torch.mm(grad_gate, self.gate.weight) * silu_slope(before)
        grad_input = torch.mm(grad_before, self.hidden.weight)
        grad_norm = grad_input[:, width:] / norm
        grad_uv = grad_inner.unsqueeze(1) * vv
        grad_vv = grad_inner.unsqueeze(1) * uv + grad_norm.unsqueeze(1) * vv
        if not self.last:
            grad_uv = grad_uv + grad_v * gate[:, 2 * width :].unsqueeze(1)
        through = torch.matmul(torch.cat([grad_uv, grad_vv], 2), self.mix.weight)
        grad_v_in = through if self.last else grad_v + through
        return grad_s + grad_input[:, :width], grad_v_in
