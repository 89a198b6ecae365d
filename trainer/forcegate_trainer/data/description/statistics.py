"""The statistics of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols

from forcegate_client.dataset import Dataset, Flag, Source, Split
from forcegate_trainer.data.description.chemistry import Chemistry, chemistry_of
from forcegate_trainer.data.description.composition import Composition, composition_of
from forcegate_trainer.data.description.labels import (
    Energies,
    Forces,
    energies_of,
    force_norms,
    forces_of,
)
from forcegate_trainer.data.molecules.splits import keys_to_hold_apart
from forcegate_trainer.errors import SettingsError

__all__ = ["NO_THERMOSTAT", "Counts", "Dropped", "Statistics", "describe", "temperature_name"]

Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]

NO_THERMOSTAT = "no thermostat"
QUANTILES = {"min": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95,
             "max": 1.0}  # fmt: skip
UNITS = {
    "forces": "eV/Å",
    "energies": "meV/atom; element_energies in eV",
    "temperatures": "K",
    "sizes": "atoms",
}


@dataclass(frozen=True)
class Counts:
    """How much there is of something; ``pairs`` are two molecules side by side.

    ``forces`` are those of the frames that were counted, None without labels.
    """

    molecules: int
    pairs: int
    frames: int
    atoms: int
    forces: Forces | None = None


@dataclass(frozen=True)
class Element:
    """``atoms`` of an element, the frames and the molecules that contain it (pairs included)."""

    atoms: int
    frames: int
    molecules: int
    molecules_of_split: Mapping[str, int]


@dataclass(frozen=True)
class Dropped:
    """Frames not kept for one reason, and their share of all that were made, kept or not.

    What a reason counts is up to the command that dropped: a trajectory that ended early counts
    once, whatever frames it would still have given.
    """

    count: int
    share: float


@dataclass(frozen=True)
class Statistics:
    """What a dataset contains.

    ``keys_in_several_splits`` are split keys, of monomers of pairs too, that occur in more than
    one split: anything but none is a leak. ``molecules_without_frames`` are rows of the molecule
    table all of whose frames were dropped; no other figure counts them. ``sizes`` are quantiles.
    ``forces`` and ``energies`` are None without labels.
    """

    content_hash: str
    teacher: Mapping[str, Any] | None
    total: Counts
    molecules_without_frames: int
    keys_in_several_splits: int
    frames_with_moved_proton: int
    splits: Mapping[str, Counts]
    sources: Mapping[str, Counts]
    temperatures: Mapping[str, Counts]
    elements: Mapping[str, Element]
    sizes: Mapping[str, Mapping[str, float]]
    chemistry: Chemistry
    energies: Energies | None
    dropped: Mapping[str, Dropped]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; what cannot be known is None, and ``missing`` says why."""
        content = asdict(self) | {"units": UNITS}
        missing = {}
        if self.teacher is None:
            missing["teacher, forces, energies"] = "the dataset is not labelled"
        elif self.energies is not None and self.energies.element_energies is None:
            missing["element_energies"] = "the compositions do not determine one for each element"
        return content | {"missing": missing}


def describe(dataset: Dataset) -> Statistics:
    """Count everything.

    Raises:
        SettingsError: if there is no frame: of nothing there are no statistics.
    """
    if not len(dataset):
        raise SettingsError("received a dataset without frames; expected at least one frame")
    composition = composition_of(dataset)
    teacher = dataset.teacher
    everything = np.ones(len(dataset), dtype=np.bool_)
    return Statistics(
        content_hash=dataset.content_hash(),
        teacher=None if teacher is None else asdict(teacher),
        total=_count(dataset, composition, everything),
        molecules_without_frames=len(dataset.molecules) - len(composition.rows),
        keys_in_several_splits=_leaks(dataset, composition),
        frames_with_moved_proton=int(np.sum(dataset.flags & Flag.PROTON_TRANSFER != 0)),
        splits={
            split.name.lower(): _count(dataset, composition, dataset.split == split)
            for split in Split
            if np.any(dataset.split == split)
        },
        sources={
            Source(code).name.lower(): _count(dataset, composition, dataset.source == code)
            for code in np.unique(dataset.source).tolist()
        },
        temperatures={
            temperature_name(kelvin): _count(dataset, composition, dataset.temperature == kelvin)
            for kelvin in np.unique(dataset.temperature).tolist()
        },
        elements=_elements(dataset, composition),
        sizes=_sizes(dataset, composition),
        chemistry=chemistry_of(
            dataset.molecules.smiles[row] for row in composition.rows[~composition.pairs].tolist()
        ),
        energies=energies_of(dataset, composition) if dataset.is_labelled else None,
        dropped=_dropped(dataset),
    )


def temperature_name(kelvin: float) -> str:
    """A temperature of the dataset for people; negative is the format's ``NOT_THERMAL``."""
    return NO_THERMOSTAT if kelvin < 0 else f"{kelvin:g}"


def _count(dataset: Dataset, composition: Composition, chosen: Bool) -> Counts:
    present = np.isin(composition.rows, dataset.molecule_id[chosen])
    pairs = int(composition.pairs[present].sum())
    atoms = int(dataset.n_atoms[chosen].sum())
    forces = None
    if dataset.is_labelled:
        forces = forces_of(force_norms(dataset)[np.repeat(chosen, dataset.n_atoms)])
    return Counts(int(present.sum()) - pairs, pairs, int(chosen.sum()), atoms, forces)


def _elements(dataset: Dataset, composition: Composition) -> dict[str, Element]:
    contains = composition.elements_of_molecules
    split = dataset.molecules.split[composition.rows]
    return {
        chemical_symbols[z]: Element(
            atoms=int(composition.counts[:, column].sum()),
            frames=int((composition.counts[:, column] > 0).sum()),
            molecules=int(contains[:, column].sum()),
            molecules_of_split={
                member.name.lower(): int(contains[split == member, column].sum())
                for member in Split
                if np.any(split == member)
            },
        )
        for column, z in enumerate(composition.elements.tolist())
    }


def _sizes(dataset: Dataset, composition: Composition) -> dict[str, dict[str, float]]:
    heavy, pairs = composition.heavy_atoms, composition.pairs
    samples = {
        "heavy atoms of a molecule": heavy[~pairs],
        "heavy atoms of a pair": heavy[pairs],
        "atoms of a frame": dataset.n_atoms,
    }
    return {
        name: {key: float(np.quantile(values, q)) for key, q in QUANTILES.items()}
        for name, values in samples.items()
        if len(values)
    }


def _dropped(dataset: Dataset) -> dict[str, Dropped]:
    made = len(dataset) + sum(dataset.dropped.values())
    ordered = sorted(dataset.dropped.items(), key=lambda entry: -entry[1])
    return {reason: Dropped(count, count / made) for reason, count in ordered}


def _leaks(dataset: Dataset, composition: Composition) -> int:
    table = dataset.molecules
    splits: dict[str, set[int]] = {}
    for row in composition.rows.tolist():
        for key in keys_to_hold_apart(table, row):
            splits.setdefault(key, set()).add(int(table.split[row]))
    return sum(len(found) > 1 for found in splits.values())
