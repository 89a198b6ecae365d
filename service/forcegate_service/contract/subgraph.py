"""Taking structures apart and putting them together, with what was counted of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from forcegate_service.contract.graph import Structures, Surveyed

__all__ = ["cut", "keep_structures", "merge", "slice_structures"]

Bool = npt.NDArray[np.bool_]

_COLUMNS = tuple(field.name for field in fields(Surveyed))


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
