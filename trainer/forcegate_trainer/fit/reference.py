"""Reference energies of the elements."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from forcegate_client.dataset import Dataset
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.fit.evaluation import predicted_energies
from forcegate_trainer.network.config import PaiNNConfig
from forcegate_trainer.network.student import Student
from forcegate_trainer.progress import Tell

__all__ = ["check_elements", "fit_reference_energies", "move_zero", "settle_zero"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

# Frames that tell whether energies have another zero, and the error per atom (eV) that says so:
# methods differ by tens of eV, a student from its labels by some meV.
_ASKED = 512
_ANOTHER_ZERO = 0.1
# Training frames, drawn at random, that a finished student's energies are settled on; rounds of
# least squares with weights that make of them the least absolute error per atom, and the error per
# atom (eV) below which none weighs more.
_SETTLED_ON = 10_000
_SEED = 0
_ROUNDS = 20
_SMALLEST = 1e-4


def fit_reference_energies(dataset: Dataset, indices: Int, elements: tuple[int, ...]) -> Float:
    """One energy per element [len(elements)] in eV: least squares of E over the composition.

    Raises:
        SettingsError: if an atom is of another element, or an element does not occur.
    """
    assert dataset.energies is not None  # whoever loads frames for training has checked
    check_elements(dataset, elements)
    composition = _composition(dataset, indices, elements)
    absent = [z for z, count in zip(elements, composition.sum(0), strict=True) if count == 0]
    if absent:
        raise SettingsError(
            f"received a training set without atomic numbers {absent}; expected every element of "
            "the model: add molecules, or leave the elements out with --elements"
        )
    solution, *_ = np.linalg.lstsq(composition, dataset.energies[indices], rcond=None)
    return np.asarray(solution, dtype=np.float64)


def move_zero(
    model: Student, dataset: Dataset, indices: Int, architecture: PaiNNConfig, tell: Tell
) -> None:
    """Refit the reference energies of a student that goes on with another method's labels.

    Methods count energies from zeros that are tens of eV apart. The network is kept: what the
    student is wrong by is fitted to the composition, where it is wrong by more than a student can
    be. Elements that do not occur keep their energies.
    """
    assert dataset.energies is not None
    asked = indices[:: max(1, len(indices) // _ASKED)]
    found = predicted_energies(model, dataset.select(asked), architecture.cutoff)
    missing = dataset.energies[asked] - found
    if np.median(np.abs(missing / dataset.n_atoms[asked])) < _ANOTHER_ZERO:
        return
    tell("energies have another zero: reference energies are fitted anew", len(asked), len(asked))
    composition = _composition(dataset, asked, architecture.elements)
    # Of all solutions the shortest: nothing moves an element that no frame has.
    moved, *_ = np.linalg.lstsq(composition, missing, rcond=None)
    model.reference_energies += torch.from_numpy(moved)


def settle_zero(
    model: Student, dataset: Dataset, indices: Int, architecture: PaiNNConfig, tell: Tell
) -> None:
    """Refit the reference energies of a finished student to what it leaves of training energies.

    While it was trained its energies wandered with each step, more than forces did; a part of what
    is left is the same for each atom of an element. Absolute errors per atom are made small, so
    that a few frames that the student has quite wrong have no say. Forces stay as they are.
    """
    assert dataset.energies is not None
    asked = indices
    if len(asked) > _SETTLED_ON:
        drawn = np.random.default_rng(_SEED).choice(asked, _SETTLED_ON, replace=False)
        asked = np.sort(drawn)
    tell("settling the reference energies", 0, len(asked))
    chosen = dataset.select(asked)
    found = predicted_energies(model, chosen, architecture.cutoff)
    everything = np.arange(len(chosen))
    missing = (dataset.energies[asked] - found) / chosen.n_atoms
    shares = _composition(chosen, everything, architecture.elements) / chosen.n_atoms[:, None]
    moved: Float = np.zeros(len(architecture.elements))
    for _ in range(_ROUNDS):
        left = np.maximum(np.abs(missing - shares @ moved), _SMALLEST)
        root = 1.0 / np.sqrt(left)
        # Of all solutions the shortest: nothing moves an element that no frame has.
        solution, *_ = np.linalg.lstsq(shares * root[:, None], missing * root, rcond=None)
        moved = np.asarray(solution, dtype=np.float64)
    model.reference_energies += torch.from_numpy(moved)
    tell("settling the reference energies", len(asked), len(asked))


def _composition(dataset: Dataset, indices: Int, elements: tuple[int, ...]) -> Float:
    """How often each frame has each element [frames, elements]."""
    composition = np.zeros((len(indices), len(elements)))
    for row, frame in enumerate(indices):
        numbers = dataset.atomic_numbers[dataset.atoms_of(int(frame))]
        composition[row] = (numbers[:, None] == elements).sum(0)
    return composition


def check_elements(dataset: Dataset, elements: tuple[int, ...]) -> None:
    """Raise ``SettingsError`` if ``dataset`` has an atom of another element."""
    found = sorted(set(np.unique(dataset.atomic_numbers).tolist()) - set(elements))
    if found:
        raise SettingsError(
            f"received atoms of atomic numbers {found}; expected only {list(elements)}"
        )
