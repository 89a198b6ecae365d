"""Neighbour lists: from structures to the flat graph that every model takes.

Vectorised all-pairs for small open structures, ``vesin`` for large or periodic ones; numpy only,
so that graphs are built outside the event loop and without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import StructureBatch
from forcegate_service.sparse_neighbors import tree_pairs

__all__ = ["Graph", "build_graph"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

# All pairs of one open structure are cheaper than a cell list up to about this many atoms.
_ALL_PAIRS_ATOMS = 150
# Above 100,000 boxes vesin makes them larger, and in elongated structures divides by zero, which
# ends the process. A tree, slower but indifferent to empty space, takes over well before.
_VESIN_BOXES = 50_000


@dataclass(frozen=True)
class Graph:
    """``B`` structures as one graph of ``N`` atoms and ``E`` directed edges.

    ``positions`` [N, 3] in Å, ``atomic_numbers`` [N], ``edge_index`` [2, E] (row 0 center, row 1
    neighbor; the full list, sorted by center, then neighbor), ``edge_shift`` [E, 3] in Å so that
    ``edge_vector = positions[neighbor] - positions[center] + edge_shift``,
    ``structure_index`` [N], ``n_atoms`` [B]. All arrays are contiguous.
    """

    positions: Float
    atomic_numbers: Int
    edge_index: Int
    edge_shift: Float
    structure_index: Int
    n_atoms: Int

    @property
    def n_edges(self) -> int:
        """Number of directed edges, E."""
        return int(self.edge_index.shape[1])

    def arrays(self) -> tuple[Float, Int, Int, Float, Int, Int]:
        """The six arrays in the order in which an exported model takes them."""
        return (
            self.positions,
            self.atomic_numbers,
            self.edge_index,
            self.edge_shift,
            self.structure_index,
            self.n_atoms,
        )


def build_graph(batch: StructureBatch, cutoff: float) -> Graph:
    """Connect all atoms closer than ``cutoff`` Å, periodic images included.

    Cells must be regular along their periodic axes; axes that are not periodic may have zero
    vectors (ASE's slabs).
    """
    bounds = batch.offsets
    centers: list[Int] = []
    neighbors: list[Int] = []
    shifts: list[Float] = []
    for b in range(len(batch)):
        start = int(bounds[b])
        positions = batch.positions[start : bounds[b + 1]]
        pbc = batch.pbc[b]
        if pbc.any():
            center, neighbor, shift = _periodic_pairs(positions, batch.cells[b], pbc, cutoff)
        elif len(positions) <= _ALL_PAIRS_ATOMS:
            center, neighbor, shift = _all_pairs(positions, cutoff)
        else:
            center, neighbor, shift = _cell_list_pairs(positions, np.zeros((3, 3)), pbc, cutoff)
        centers.append(center + start)
        neighbors.append(neighbor + start)
        shifts.append(shift)
    edge_index = np.empty((2, sum(map(len, centers))), dtype=np.int64)
    edge_shift = np.empty((edge_index.shape[1], 3))
    if centers:
        np.concatenate(centers, out=edge_index[0])
        np.concatenate(neighbors, out=edge_index[1])
        np.concatenate(shifts, out=edge_shift)
    return Graph(
        positions=np.ascontiguousarray(batch.positions),
        atomic_numbers=np.ascontiguousarray(batch.atomic_numbers),
        edge_index=edge_index,
        edge_shift=edge_shift,
        structure_index=batch.structure_index,
        n_atoms=np.ascontiguousarray(batch.n_atoms),
    )


def _all_pairs(positions: Float, cutoff: float) -> tuple[Int, Int, Float]:
    difference = positions[:, None, :] - positions[None, :, :]
    squared = np.einsum("ijk,ijk->ij", difference, difference)
    within = squared < cutoff * cutoff
    np.fill_diagonal(within, False)
    center, neighbor = np.nonzero(within)
    return center, neighbor, np.zeros((len(center), 3))


def _periodic_pairs(
    positions: Float, cell: Float, pbc: npt.NDArray[np.bool_], cutoff: float
) -> tuple[Int, Int, Float]:
    complete = _complete_cell(cell, pbc, positions, cutoff)
    return _cell_list_pairs(positions, complete, pbc, cutoff)


def _complete_cell(
    cell: Float, pbc: npt.NDArray[np.bool_], positions: Float, cutoff: float
) -> Float:
    """Replace vectors along open axes by orthogonal ones that are longer than the structure.

    Open axes carry no images, so their vectors only have to make the matrix regular.
    """
    periodic = cell[pbc]
    extent = float(np.ptp(positions, axis=0).sum()) + 2.0 * cutoff
    # Rows of V beyond the rank span the complement of the periodic vectors.
    _, _, basis = np.linalg.svd(periodic.reshape(-1, 3))
    complete = cell.copy()
    complete[~pbc] = basis[len(periodic) :] * extent
    return complete


def _cell_list_pairs(
    positions: Float, cell: Float, pbc: npt.NDArray[np.bool_], cutoff: float
) -> tuple[Int, Int, Float]:
    if _boxes_in(positions, cell, cutoff) < _VESIN_BOXES:
        # Imported here because vesin imports torch where there is one, which takes seconds.
        from vesin import NeighborList

        lists = NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
        center, neighbor, images = lists.compute(
            points=positions, box=cell, periodic=pbc, quantities="ijS"
        )
    else:
        center, neighbor, images = tree_pairs(positions, cell, pbc, cutoff)
    order = np.lexsort((neighbor, center))
    shift = images[order].astype(np.float64) @ cell
    return (
        center[order].astype(np.int64),
        neighbor[order].astype(np.int64),
        np.ascontiguousarray(shift),
    )


def _boxes_in(positions: Float, cell: Float, cutoff: float) -> float:
    """About how many boxes as wide as the cutoff a cell list divides the structure into."""
    heights = np.ptp(positions, axis=0)
    if cell.any():
        heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    return float((heights / cutoff + 1.0).prod())
