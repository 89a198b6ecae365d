"""Neighbour lists: from structures to the flat graph that every model takes.

Small open structures are done with together, large or periodic ones one by one; numpy only, so
that graphs are built outside the event loop and without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import StructureBatch
from forcegate_service.dense_neighbors import open_pairs
from forcegate_service.pairs import PairList, find_pairs
from forcegate_service.search import search_pairs

__all__ = ["Graph", "build_graph"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

# All pairs of one open structure are cheaper than a search up to about this many atoms.
_ALL_PAIRS_ATOMS = 300


@dataclass(frozen=True)
class Graph:
    """``B`` structures as one graph of ``N`` atoms and ``E`` directed edges.

    ``positions`` [N, 3] in Å, ``atomic_numbers`` [N], ``edge_index`` [2, E] (row 0 center, row 1
    neighbor; the full list, sorted by center, then neighbor), ``edge_shift`` [E, 3] in Å so that
    ``edge_vector = positions[neighbor] - positions[center] + edge_shift``,
    ``structure_index`` [N], ``n_atoms`` [B]. All arrays are contiguous. ``pairs`` are what models
    of interface 2 take beside, None for those of interface 1.
    """

    positions: Float
    atomic_numbers: Int
    edge_index: Int
    edge_shift: Float
    structure_index: Int
    n_atoms: Int
    pairs: PairList | None = None

    @property
    def n_edges(self) -> int:
        """Number of directed edges, E."""
        return int(self.edge_index.shape[1])

    @property
    def n_pairs(self) -> int | None:
        """Number of pairs, P; None where there is no list of them."""
        return None if self.pairs is None else len(self.pairs)

    def arrays(self) -> tuple[Float | Int, ...]:
        """In the order in which an exported model takes them: six, or nine with pairs."""
        arrays = (
            self.positions,
            self.atomic_numbers,
            self.edge_index,
            self.edge_shift,
            self.structure_index,
            self.n_atoms,
        )
        pairs = self.pairs
        return arrays if pairs is None else (*arrays, pairs.index, pairs.shift, pairs.cutoff)


def build_graph(batch: StructureBatch, cutoff: float, pair_cutoff: float | None = None) -> Graph:
    """Connect all atoms closer than ``cutoff`` Å, periodic images included.

    With ``pair_cutoff`` the graph lists pairs as well, as ``find_pairs`` does.

    Cells must be regular along their periodic axes; axes that are not periodic may have zero
    vectors (ASE's slabs).
    """
    periodic = np.count_nonzero(batch.pbc)
    if not periodic and batch.n_atoms.max(initial=0) <= _ALL_PAIRS_ATOMS:
        edge_index = open_pairs(batch.positions, batch.n_atoms, cutoff)
        edge_shift = np.zeros((edge_index.shape[1], 3))
    else:
        edge_index, edge_shift = _mixed_pairs(batch, cutoff)
    return Graph(
        positions=np.ascontiguousarray(batch.positions),
        atomic_numbers=np.ascontiguousarray(batch.atomic_numbers),
        edge_index=edge_index,
        edge_shift=edge_shift,
        structure_index=batch.structure_index,
        n_atoms=np.ascontiguousarray(batch.n_atoms),
        pairs=None if pair_cutoff is None else find_pairs(batch, pair_cutoff),
    )


def _mixed_pairs(batch: StructureBatch, cutoff: float) -> tuple[Int, Float]:
    """Structures that need a search one by one, what lies between two of them together."""
    alone = batch.pbc.any(axis=1) | (batch.n_atoms > _ALL_PAIRS_ATOMS)
    borders = np.flatnonzero(alone[1:] | alone[:-1]) + 1
    first_atom = batch.offsets
    parts: list[tuple[Int, Int, Float]] = []
    for start, stop in pairwise([0, *borders.tolist(), len(batch)]):
        first = int(first_atom[start])
        positions = batch.positions[first : first_atom[stop]]
        if alone[start]:
            center, neighbor, shift = search_pairs(
                positions, batch.cells[start], batch.pbc[start], cutoff
            )
        else:
            center, neighbor = open_pairs(positions, batch.n_atoms[start:stop], cutoff)
            shift = np.zeros((len(center), 3))
        parts.append((center + first, neighbor + first, shift))
    centers, neighbors, shifts = zip(*parts, strict=True)
    edge_index = np.empty((2, sum(map(len, centers))), dtype=np.int64)
    np.concatenate(centers, out=edge_index[0])
    np.concatenate(neighbors, out=edge_index[1])
    return edge_index, np.concatenate(shifts)
