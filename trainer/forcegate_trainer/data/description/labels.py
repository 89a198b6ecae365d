"""What a teacher's labels look like: forces, and energies beyond the sum of their elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols

from forcegate_client.dataset import Dataset
from forcegate_trainer.data.description.composition import Composition

__all__ = ["Energies", "Forces", "energies_beyond_elements", "force_norms", "forces_of"]

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

MEV = 1e-3  # eV


@dataclass(frozen=True)
class Forces:
    """Forces in eV/Å: RMS over components, and norms |F| of atoms."""

    component_rms: float
    norm_median: float
    norm_95: float
    norm_max: float


@dataclass(frozen=True)
class Energies:
    """Energies less the sum of one energy per element, per atom, in meV/atom.

    ``element_energies`` (eV) are the least-squares fit to all frames; absent where the
    compositions do not determine them, which leaves the differences defined all the same.
    """

    rms: float
    smallest: float
    largest: float
    element_energies: Mapping[str, float] | None


def force_norms(dataset: Dataset) -> Float:
    """|F| [N] of every atom in eV/Å; the dataset is labelled."""
    assert dataset.forces is not None  # callers ask labelled datasets only
    return np.asarray(np.linalg.norm(dataset.forces, axis=1))


def forces_of(norms: Float) -> Forces:
    """The summary of force norms [n] in eV/Å, of at least one atom."""
    middle, high = np.quantile(norms, [0.5, 0.95])
    return Forces(
        component_rms=float(np.sqrt(np.mean(norms**2) / 3.0)),
        norm_median=float(middle),
        norm_95=float(high),
        norm_max=float(norms.max()),
    )


def energies_beyond_elements(
    dataset: Dataset, composition: Composition
) -> tuple[Float, Mapping[str, float] | None]:
    """(E - Σ_z n_z e_z) / n of each frame [F] in meV/atom, and e_z in eV by symbol.

    The energy zero of a quantum-chemical method is arbitrary for each element; what a model has to
    learn is the rest. The e_z are None where the compositions do not determine them.
    """
    assert dataset.energies is not None  # callers ask labelled datasets only
    counts = composition.counts.astype(np.float64)
    fitted, _, rank, _ = np.linalg.lstsq(counts, dataset.energies, rcond=None)
    rest = (dataset.energies - counts @ fitted) / dataset.n_atoms / MEV
    if rank < len(composition.elements):
        return rest, None
    symbols = [chemical_symbols[z] for z in composition.elements]
    return rest, dict(zip(symbols, fitted.tolist(), strict=True))


def energies_of(dataset: Dataset, composition: Composition) -> Energies:
    """The summary of a labelled dataset's energies."""
    rest, fitted = energies_beyond_elements(dataset, composition)
    return Energies(
        rms=float(np.sqrt(np.mean(rest**2))),
        smallest=float(rest.min()),
        largest=float(rest.max()),
        element_energies=fitted,
    )
