"""Reference energies of the elements."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forcegate_client.dataset import Dataset
from forcegate_trainer.errors import SettingsError

__all__ = ["check_elements", "fit_reference_energies"]


def fit_reference_energies(
    dataset: Dataset, indices: npt.NDArray[np.int64], elements: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """One energy per element [len(elements)] in eV: least squares of E over the composition.

    Raises:
        SettingsError: if an atom is of another element, or an element does not occur.
    """
    assert dataset.energies is not None  # whoever loads frames for training has checked
    check_elements(dataset, elements)
    composition = np.zeros((len(indices), len(elements)))
    for row, frame in enumerate(indices):
        numbers = dataset.atomic_numbers[dataset.atoms_of(int(frame))]
        composition[row] = (numbers[:, None] == elements).sum(0)
    absent = [z for z, count in zip(elements, composition.sum(0), strict=True) if count == 0]
    if absent:
        raise SettingsError(
            f"received a training set without atomic numbers {absent}; expected every element of "
            "the model: add molecules, or leave the elements out with --elements"
        )
    solution, *_ = np.linalg.lstsq(composition, dataset.energies[indices], rcond=None)
    return np.asarray(solution, dtype=np.float64)


def check_elements(dataset: Dataset, elements: tuple[int, ...]) -> None:
    """Raise ``SettingsError`` if ``dataset`` has an atom of another element."""
    found = sorted(set(np.unique(dataset.atomic_numbers).tolist()) - set(elements))
    if found:
        raise SettingsError(
            f"received atoms of atomic numbers {found}; expected only {list(elements)}"
        )
