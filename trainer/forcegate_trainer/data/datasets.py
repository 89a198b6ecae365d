"""Data sets as a whole: several labelled files as one, and frames as structures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forcegate_client.dataset import Dataset, concatenate, load_dataset
from forcegate_client.structures import StructureBatch
from forcegate_trainer.data.molecules.splits import trained_when_common
from forcegate_trainer.errors import SettingsError

__all__ = ["load_all", "structures_of"]


def load_all(paths: Sequence[str | Path]) -> Dataset:
    """All frames of several labelled files.

    Raises:
        SettingsError: if one of them has no labels.
    """
    datasets = [trained_when_common(load_dataset(path)) for path in paths]
    for path, dataset in zip(paths, datasets, strict=True):
        if not dataset.is_labelled:
            raise SettingsError(
                f"received {path}, which has no energies and forces; expected labelled frames: "
                "run `forcegate-train label` on it first"
            )
    return concatenate(datasets)


def structures_of(dataset: Dataset) -> StructureBatch:
    """The structures of all frames."""
    return StructureBatch.from_arrays(
        n_atoms=dataset.n_atoms,
        atomic_numbers=dataset.atomic_numbers,
        positions=dataset.positions,
        cells=dataset.cells,
        pbc=dataset.pbc,
        charges=dataset.charge,
        multiplicities=dataset.molecules.multiplicity[dataset.molecule_id],
    )
