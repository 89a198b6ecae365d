"""Structures as they are evaluated, with what was counted of them; taken apart and put together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import StructureBatch

__all__ = [
    "Structures",
    "Surveyed",
    "cut",
    "keep_structures",
    "merge",
    "of_batch",
    "slice_structures",
    "uncounted",
]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Structures(ABC):
    """``B`` structures with ``N`` atoms in all, one after the other, and how much each is.

    ``positions`` [N, 3] in Å, ``atomic_numbers`` [N], ``n_atoms`` [B], ``cells`` [B, 3, 3] in Å,
    ``pbc`` [B, 3]. All arrays are contiguous.
    """

    positions: Float
    atomic_numbers: Int
    n_atoms: Int
    cells: Float
    pbc: Bool

    @abstractmethod
    def counts(self) -> tuple[Int, Int]:
        """Directed edges [B] and pairs [B] of each structure; no pairs for interface 1."""

    @abstractmethod
    def nearest(self) -> Float:
        """[N] in Å; of each atom its nearest neighbour, infinite without any."""

    @property
    def structure_index(self) -> Int:
        """[N]; the structure that each atom belongs to."""
        return np.repeat(np.arange(len(self.n_atoms)), self.n_atoms)

    @property
    def n_edges(self) -> int:
        """Number of directed edges, E."""
        return int(self.counts()[0].sum())

    @property
    def n_pairs(self) -> int:
        """Number of pairs, P."""
        return int(self.counts()[1].sum())


@dataclass(frozen=True)
class Surveyed(Structures):
    """Structures whose edges and pairs were counted, and are listed by whoever evaluates them.

    ``edge_counts`` [B], ``pair_counts`` [B], ``distances`` [N] in Å to the nearest neighbour.
    """

    edge_counts: Int
    pair_counts: Int
    distances: Float

    def counts(self) -> tuple[Int, Int]:
        """See ``Structures``."""
        return self.edge_counts, self.pair_counts

    def nearest(self) -> Float:
        """See ``Structures``."""
        return self.distances


_COLUMNS = tuple(field.name for field in fields(Surveyed))


def uncounted(
    positions: Float, atomic_numbers: Int, n_atoms: Int, cells: Float, pbc: Bool
) -> Structures:
    """Structures for a runtime that is asked at once: nobody looks at what they cost."""
    nothing = np.zeros(len(n_atoms), dtype=np.int64)
    unknown = np.full(len(atomic_numbers), np.nan)
    return Surveyed(positions, atomic_numbers, n_atoms, cells, pbc, nothing, nothing, unknown)


def of_batch(batch: StructureBatch) -> Structures:
    """The same of a batch."""
    return uncounted(batch.positions, batch.atomic_numbers, batch.n_atoms, batch.cells, batch.pbc)


def slice_structures(structures: Structures, start: int, stop: int) -> Surveyed:
    """Structures ``start:stop``."""
    first = int(structures.n_atoms[:start].sum())
    last = first + int(structures.n_atoms[start:stop].sum())
    return _part(structures, slice(start, stop), slice(first, last))


def cut(structures: Structures, ends: Sequence[int]) -> list[Surveyed]:
    """The runs of structures that end at ``ends``, from the first to the last."""
    atoms = [0, *np.cumsum(structures.n_atoms)[np.array(ends) - 1].tolist()]
    places = pairwise([0, *ends]), pairwise(atoms)
    return [_part(structures, slice(*run), slice(*own)) for run, own in zip(*places, strict=True)]


def keep_structures(structures: Structures, keep: Bool) -> Surveyed:
    """Those with ``keep`` [B] set, in order."""
    return _part(structures, keep, np.repeat(keep, structures.n_atoms))


def merge(parts: Sequence[Structures]) -> Structures:
    """All structures of ``parts`` (at least one), in order."""
    if len(parts) == 1:
        return parts[0]
    plain = [_surveyed(part) for part in parts]
    return Surveyed(
        **{name: np.concatenate([getattr(part, name) for part in plain]) for name in _COLUMNS}
    )


def _surveyed(structures: Structures) -> Surveyed:
    if isinstance(structures, Surveyed):
        return structures
    return _part(structures, slice(None), slice(None))


def _part(whole: Structures, structures: slice | Bool, atoms: slice | Bool) -> Surveyed:
    edges, pairs = whole.counts()
    return Surveyed(
        positions=whole.positions[atoms],
        atomic_numbers=whole.atomic_numbers[atoms],
        n_atoms=whole.n_atoms[structures],
        cells=whole.cells[structures],
        pbc=whole.pbc[structures],
        edge_counts=edges[structures],
        pair_counts=pairs[structures],
        distances=whole.nearest()[atoms],
    )
