"""Cutting graphs apart and putting them together: views and concatenations, no search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from forcegate_service.graph import Graph
from forcegate_service.pairs import PairList

__all__ = [
    "edge_vectors",
    "edges_per_structure",
    "keep_structures",
    "merge",
    "slice_structures",
]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


def edge_vectors(graph: Graph) -> Float:
    """[E, 3] in Å, from center to neighbor."""
    center, neighbor = graph.edge_index
    # Rows are taken several times faster than indexed.
    vectors: Float = graph.positions.take(neighbor, axis=0)
    vectors -= graph.positions.take(center, axis=0)
    vectors += graph.edge_shift
    return vectors


def edges_per_structure(graph: Graph) -> Int:
    """[B]."""
    ends = np.searchsorted(graph.edge_index[0], np.cumsum(graph.n_atoms))
    counts: Int = np.diff(ends, prepend=0)
    return counts


def slice_structures(graph: Graph, start: int, stop: int) -> Graph:
    """Structures ``start:stop`` of ``graph``.

    Edges are sorted by center, hence those of consecutive structures are one run of columns.
    """
    first_atom = int(graph.n_atoms[:start].sum())
    last_atom = first_atom + int(graph.n_atoms[start:stop].sum())
    first_edge, last_edge = np.searchsorted(graph.edge_index[0], [first_atom, last_atom])
    return Graph(
        positions=graph.positions[first_atom:last_atom],
        atomic_numbers=graph.atomic_numbers[first_atom:last_atom],
        # The subtraction makes a new array, so the slice of columns becomes contiguous here.
        edge_index=graph.edge_index[:, first_edge:last_edge] - first_atom,
        edge_shift=graph.edge_shift[first_edge:last_edge],
        structure_index=graph.structure_index[first_atom:last_atom] - start,
        n_atoms=graph.n_atoms[start:stop],
        pairs=None
        if graph.pairs is None
        else graph.pairs.cut(slice(first_atom, last_atom), slice(start, stop)),
    )


def keep_structures(graph: Graph, keep: Bool) -> Graph:
    """The structures with ``keep`` [B] set, in order."""
    atoms = keep[graph.structure_index]
    edges = atoms[graph.edge_index[0]]
    new_atom = np.cumsum(atoms) - 1
    new_structure = np.cumsum(keep) - 1
    return Graph(
        positions=graph.positions[atoms],
        atomic_numbers=graph.atomic_numbers[atoms],
        # Indexing columns by flags would transpose them in memory.
        edge_index=new_atom.take(graph.edge_index.compress(edges, axis=1)),
        edge_shift=graph.edge_shift[edges],
        structure_index=new_structure[graph.structure_index[atoms]],
        n_atoms=graph.n_atoms[keep],
        pairs=None if graph.pairs is None else graph.pairs.keep(atoms, keep),
    )


def merge(graphs: Sequence[Graph]) -> Graph:
    """All structures of ``graphs`` (at least one graph), in order."""
    if len(graphs) == 1:
        return graphs[0]
    first_atoms = _starts([len(graph.atomic_numbers) for graph in graphs])
    pairs = [graph.pairs for graph in graphs if graph.pairs is not None]
    first_structures = _starts([len(graph.n_atoms) for graph in graphs])
    return Graph(
        positions=np.concatenate([graph.positions for graph in graphs]),
        atomic_numbers=np.concatenate([graph.atomic_numbers for graph in graphs]),
        edge_index=np.concatenate(
            [graph.edge_index + start for graph, start in zip(graphs, first_atoms, strict=True)],
            axis=1,
        ),
        edge_shift=np.concatenate([graph.edge_shift for graph in graphs]),
        structure_index=np.concatenate(
            [
                graph.structure_index + start
                for graph, start in zip(graphs, first_structures, strict=True)
            ]
        ),
        n_atoms=np.concatenate([graph.n_atoms for graph in graphs]),
        pairs=None if len(pairs) < len(graphs) else PairList.joined(pairs, first_atoms),
    )


def _starts(lengths: Sequence[int]) -> list[int]:
    starts: list[int] = np.cumsum([0, *lengths[:-1]]).tolist()
    return starts
