"""Remarks on structures that can be computed but are probably not what was meant."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forcegate_client.structures import StructureBatch

__all__ = ["composition_warnings"]

_HYDROGEN, _CARBON = 1, 6
_CHALCOGENS = (8, 16)
_HALOGENS = (9, 17, 35, 53)

ODD_ELECTRONS = (
    "odd number of electrons ({electrons}): the model describes closed shells only, so a radical "
    "or a missing or surplus hydrogen gives meaningless energies and forces"
)
NO_HYDROGEN = (
    "{carbons} carbon atoms and not a single hydrogen: if hydrogens were stripped from the "
    "structure, add them; the model was made for complete molecules"
)


def composition_warnings(batch: StructureBatch) -> dict[int, list[str]]:
    """Warnings by structure index.

    A structure is remarked on if its number of electrons is odd, or if it looks like an organic
    molecule stripped of its hydrogens: no hydrogen, at least two carbons, and fewer halogens than
    carbons. That spares CO and perhalogenated molecules such as C₂F₄ and C₆F₆; however many CO₂ and
    CS₂ together, and periodic structures of carbon alone (diamond, graphene), are spared as well.
    """
    size = len(batch)
    owner, numbers = batch.structure_index, batch.atomic_numbers

    def count(selected: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        return np.bincount(owner[selected], minlength=size)

    electrons = np.bincount(owner, weights=numbers, minlength=size).astype(np.int64) - batch.charges
    odd = electrons % 2 == 1
    hydrogen_free = count(numbers == _HYDROGEN) == 0
    if not np.count_nonzero(odd | hydrogen_free):
        return {}
    carbons = count(numbers == _CARBON)
    hydrogen_free &= carbons >= 2
    hydrogen_free &= count(np.isin(numbers, _HALOGENS)) < carbons
    hydrogen_free &= count(np.isin(numbers, _CHALCOGENS)) < 2 * carbons
    hydrogen_free &= ~((carbons == batch.n_atoms) & batch.pbc.any(axis=1))
    warnings: dict[int, list[str]] = {}
    for index in np.flatnonzero(odd | hydrogen_free).tolist():
        texts = warnings.setdefault(index, [])
        if odd[index]:
            texts.append(ODD_ELECTRONS.format(electrons=electrons[index]))
        if hydrogen_free[index]:
            texts.append(NO_HYDROGEN.format(carbons=carbons[index]))
    return warnings
