"""A potential as an exported program, which is compiled for the machine that runs it."""

from __future__ import annotations

import inspect
import io
import warnings
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from forcegate_service.graph_potential import PotentialSums

__all__ = ["export_program", "trace"]


def trace(potential: PotentialSums) -> ExportedProgram:
    """``potential``, of either interface, as a graph of operators with N, E, P and B left open.

    Sizes of zero and one are valid although the example has larger ones.
    """
    inputs = _example(potential)
    # One of interface 2 takes pairs too.
    taken = len(inspect.signature(potential.forward).parameters)
    atoms, edges, structures, pairs = map(Dim, ("atoms", "edges", "structures", "pairs"))
    shapes: tuple[dict[int, Any], ...] = (
        {0: atoms},
        {0: atoms},
        {1: edges},
        {0: edges},
        {0: atoms},
        {0: structures},
        {1: pairs},
        {0: pairs},
        {0: structures},
    )
    with torch.no_grad(), warnings.catch_warnings():
        # torch's own copying of its trees, nothing of ours.
        warnings.filterwarnings("ignore", r".*LeafSpec", FutureWarning)
        program = torch.export.export(
            potential.eval(), inputs[:taken], dynamic_shapes=shapes[:taken]
        )
    for node in program.graph.nodes:
        # It names files of the machine that exports, which are nobody else's business.
        node.meta.pop("stack_trace", None)
    return program


def export_program(potential: PotentialSums) -> bytes:
    """The content of a ``.pt2`` file with the very ``forward`` that is scripted too."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # As above.
        warnings.filterwarnings("ignore", r".*LeafSpec", FutureWarning)
        torch.export.save(trace(potential), buffer)
    return buffer.getvalue()


def _example(potential: PotentialSums) -> tuple[torch.Tensor, ...]:
    """Two chains of three and four atoms.

    Every size is another number and none is 0 or 1: an export takes those for constants, and
    equal ones for the same.
    """
    known = torch.nonzero(potential.element_of >= 0).flatten()[-1]
    n_atoms = torch.tensor([3, 4])
    first = torch.tensor([0, 1, 3, 4, 5])
    edge_index = torch.stack([torch.cat([first, first + 1]), torch.cat([first + 1, first])])
    positions = torch.zeros(7, 3, dtype=torch.float64)
    positions[:, 0] = torch.arange(7)
    return (
        positions,
        known.expand(7).contiguous(),
        edge_index[:, torch.argsort(edge_index[0], stable=True)].contiguous(),
        torch.zeros(10, 3, dtype=torch.float64),
        torch.repeat_interleave(torch.arange(2), n_atoms),
        n_atoms,
        torch.stack(
            [torch.tensor([0, 0, 1, 3, 3, 3, 4, 4, 5]), torch.tensor([1, 2, 2, 4, 5, 6, 5, 6, 6])]
        ),
        torch.zeros(9, 3, dtype=torch.float64),
        torch.zeros(2, dtype=torch.float64),
    )
