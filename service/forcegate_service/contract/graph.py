"""Structures with the neighbour lists of a flat graph, for runtimes that take one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import StructureBatch
from forcegate_service.contract.neighbors.dense import open_pairs
from forcegate_service.contract.neighbors.pairs import PairList, find_pairs
from forcegate_service.contract.neighbors.periodic import search_pairs
from forcegate_service.contract.structures import Structures

__all__ = ["Graph", "build_graph", "edge_vectors", "listed"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

# All pairs of one open structure are cheaper than a search up to about this many atoms.
_ALL_PAIRS_ATOMS = 300


@dataclass(frozen=True)
class Graph(Structures):
    """Structures as one graph of ``N`` atoms and ``E`` directed edges.

    ``edge_index`` [2, E] (row 0 center, row 1 neighbor; the full list, sorted by center, then
    neighbor), ``edge_shift`` [E, 3] in Å so that ``edge_vector = positions[neighbor] -
    positions[center] + edge_shift``. ``pairs`` are what models of interface 2 take beside, None for
    those of interface 1.
    """

    edge_index: Int
    edge_shift: Float
    pairs: PairList | None = None

    @property
    def n_edges(self) -> int:
        """Number of directed edges, E."""
        return int(self.edge_index.shape[1])

    @property
    def n_pairs(self) -> int:
        """Number of pairs, P."""
        return 0 if self.pairs is None else len(self.pairs)

    def counts(self) -> tuple[Int, Int]:
        """See ``Structures``."""
        ends = np.searchsorted(self.edge_index[0], np.cumsum(self.n_atoms))
        edges: Int = np.diff(ends, prepend=0)
        pairs = self.pairs
        return edges, np.zeros_like(edges) if pairs is None else pairs.per_structure(self.n_atoms)

    def nearest(self) -> Float:
        """See ``Structures``."""
        vectors = edge_vectors(self)
        vectors *= vectors
        squared = vectors[:, 0] + vectors[:, 1]
        squared += vectors[:, 2]
        lengths = np.bincount(self.edge_index[0], minlength=len(self.atomic_numbers))
        found = np.full(len(lengths), np.inf)
        some = np.flatnonzero(lengths)
        if len(some):
            starts = np.cumsum(lengths) - lengths
            found[some] = np.sqrt(np.minimum.reduceat(squared, starts[some]))
        return found

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


def edge_vectors(graph: Graph) -> Float:
    """[E, 3] in Å, from center to neighbor."""
    center, neighbor = graph.edge_index
    # Rows are taken several times faster than indexed.
    vectors: Float = graph.positions.take(neighbor, axis=0)
    vectors -= graph.positions.take(center, axis=0)
    vectors += graph.edge_shift
    return vectors


def listed(structures: Structures, cutoff: float, pair_cutoff: float | None) -> Graph:
    """``structures`` with their edges and pairs, as ``build_graph`` lists them."""
    if isinstance(structures, Graph):
        return structures
    batch = StructureBatch.from_arrays(
        n_atoms=structures.n_atoms,
        atomic_numbers=structures.atomic_numbers,
        positions=structures.positions,
        cells=structures.cells,
        pbc=structures.pbc,
    )
    return build_graph(batch, cutoff, pair_cutoff)


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
        n_atoms=np.ascontiguousarray(batch.n_atoms),
        cells=np.ascontiguousarray(batch.cells),
        pbc=np.ascontiguousarray(batch.pbc),
        edge_index=edge_index,
        edge_shift=edge_shift,
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
