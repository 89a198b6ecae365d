"""Neighbours among many atoms: vesin's cell list, put in order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forcegate_service.contract.neighbors.lattice import grid, lattice_vectors

__all__ = ["cell_list_pairs"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


def cell_list_pairs(
    positions: Float, cell: Float, pbc: Bool, cutoff: float
) -> tuple[Int, Int, Float]:
    """Centers [E], neighbors [E] and shifts [E, 3] (Å) of all pairs closer than ``cutoff`` Å.

    ``positions`` [N, 3] and ``cell`` [3, 3] in Å. Sorted by center, neighbor and image.

    Each edge is packed into one integer, center first: sorting integers is some twenty times
    cheaper than finding the order of three columns and applying it to them.
    """
    # Imported here because vesin imports torch where there is one, which takes seconds.
    from vesin import NeighborList

    lists = NeighborList(cutoff=cutoff, full_list=False, n_threads=1)
    pairs, images = lists.compute(positions, cell, pbc, "PS", copy=False)
    counts = np.array([np.abs(column).max(initial=0) for column in images.T], dtype=np.int64)
    shift = lattice_vectors(grid(counts), cell)
    # Images are numbered as in the grid, from its middle, so that opposite ones are negatives.
    along_a, along_b, along_c = images.T.astype(np.int64)
    image = (along_a * (2 * counts[1] + 1) + along_b) * (2 * counts[2] + 1) + along_c
    middle = len(shift) // 2
    image_bits, atom_bits = len(shift).bit_length(), len(positions).bit_length()
    assert image_bits + 2 * atom_bits < 64
    first, second = pairs.T.astype(np.int64)
    both = np.empty((2, len(pairs)), dtype=np.int64)
    # vesin gives one of the two directions.
    for row, (center, neighbor, number) in zip(
        both, ((first, second, image), (second, first, -image)), strict=True
    ):
        np.left_shift(center, atom_bits, out=row)
        row |= neighbor
        row <<= image_bits
        row += number + middle
    edges = both.reshape(-1)
    edges.sort()
    number = edges & ((1 << image_bits) - 1)
    edges >>= image_bits
    return edges >> atom_bits, edges & ((1 << atom_bits) - 1), shift.take(number, axis=0)
