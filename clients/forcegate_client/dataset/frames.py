"""A dataset in memory: flat numpy arrays, and what can be done with them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forcegate_client.dataset.errors import DatasetMismatchError
from forcegate_client.dataset.hashing import Columns, combined_hash
from forcegate_client.dataset.molecules import MoleculeTable, merge_tables
from forcegate_client.dataset.schema import (
    NOT_THERMAL,
    POSITION_STEPS_PER_ANGSTROM,
    Source,
    Split,
    TeacherRecord,
    quantise_charges,
    quantise_forces,
    quantise_positions,
    to_charge_steps,
    to_force_steps,
    to_steps,
)

PER_ATOM = ("atomic_numbers", "positions", "fragment", "forces", "charges")
PER_FRAME = (
    "n_atoms", "cells", "pbc", "molecule_id", "source", "temperature", "flags", "energies",
    "virials", "force_spread", "separated_energies",
)  # fmt: skip
# What not every teacher tells: NaN where it is not known.
MAYBE_UNKNOWN = ("charges", "force_spread", "separated_energies")


@dataclass(frozen=True, eq=False)
class Frame:
    """One open (non-periodic) structure before it is stored.

    ``atomic_numbers`` i64 [n], ``positions`` f64 [n,3] Å, ``molecule_id`` a row of the table,
    ``temperature`` in K; ``fragment`` i64 [n], which part of ``A.B`` an atom belongs to (None: the
    frame is one molecule).
    """

    atomic_numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    molecule_id: int
    source: Source
    temperature: float = NOT_THERMAL
    fragment: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Labels:
    """What a teacher says of F frames with N atoms in total; optional values are NaN if unknown.

    ``energies`` f64 [F] eV, ``forces`` f64 [N,3] eV/Å, atomic ``charges`` f64 [N] in e,
    ``force_spread`` f64 [F] eV/Å, ``separated_energies`` f64 [F] eV.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    charges: NDArray[np.float64] | None = None
    force_spread: NDArray[np.float64] | None = None
    separated_energies: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """F frames with N atoms in total.

    ``n_atoms`` i64 [F]; ``atomic_numbers`` i64 [N]; ``positions`` f64 [N,3] Å, multiples of 1e-4;
    ``cells`` f64 [F,3,3] Å; ``pbc`` bool [F,3]; ``molecule_id`` i64 [F], rows of ``molecules``;
    ``source`` i64 [F], codes of :class:`Source`; ``temperature`` f64 [F] K or ``NOT_THERMAL``;
    ``flags`` i64 [F], bits of :class:`Flag`; ``energies`` f64 [F] eV, ``forces`` f64 [N,3] eV/Å
    and ``teacher`` together or not at all; ``virials`` f64 [F,3,3] eV, optional. ``fragment`` i64
    [N] numbers the parts of a complex ``A.B``. Optional, and NaN where the teacher does not tell:
    atomic ``charges`` f64 [N] in e; ``force_spread`` f64 [F] in eV/Å, the largest disagreement of
    the teacher with itself on any atom; ``separated_energies`` f64 [F] in eV, the sum of a
    complex's parts each alone. ``dropped`` counts frames that were made but not kept, by reason;
    ``job`` records the settings of the command that wrote the file.

    Raises:
        DatasetMismatchError: if the arrays' shapes do not fit together.
    """

    n_atoms: NDArray[np.int64]
    atomic_numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cells: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    molecule_id: NDArray[np.int64]
    source: NDArray[np.int64]
    temperature: NDArray[np.float64]
    flags: NDArray[np.int64]
    fragment: NDArray[np.int64]
    molecules: MoleculeTable
    energies: NDArray[np.float64] | None = None
    forces: NDArray[np.float64] | None = None
    virials: NDArray[np.float64] | None = None
    teacher: TeacherRecord | None = None
    seed: int | None = None
    code_version: str | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    job: Mapping[str, Any] = field(default_factory=dict)
    charges: NDArray[np.float64] | None = None
    force_spread: NDArray[np.float64] | None = None
    separated_energies: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        frames, atoms = len(self.n_atoms), int(np.sum(self.n_atoms))
        expected = {"cells": (frames, 3, 3), "pbc": (frames, 3), "virials": (frames, 3, 3)}
        expected |= {"positions": (atoms, 3), "forces": (atoms, 3)}
        expected |= dict.fromkeys(("atomic_numbers", "fragment", "charges"), (atoms,))
        for name in (*PER_ATOM, *PER_FRAME):
            array = getattr(self, name)
            shape = expected.get(name, (frames,))
            if array is not None and array.shape != shape:
                raise DatasetMismatchError(
                    f"received {name} of shape {array.shape}",
                    expected=f"{shape} for {frames} frames with {atoms} atoms in total",
                )
        if frames and not 0 <= self.molecule_id.min() <= self.molecule_id.max() < len(
            self.molecules
        ):
            raise DatasetMismatchError(
                f"received molecule_id up to {self.molecule_id.max()}",
                expected=f"rows of the molecule table, which has {len(self.molecules)}",
            )
        labels = (self.energies is None, self.forces is None, self.teacher is None)
        if len(set(labels)) > 1:
            raise DatasetMismatchError(
                "received some of energies, forces and teacher but not all",
                expected="all three (a labelled dataset) or none",
            )

    def __len__(self) -> int:
        return len(self.n_atoms)

    @property
    def is_labelled(self) -> bool:
        """Whether energies and forces are present."""
        return self.energies is not None

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """i64 [F+1]: atoms of frame f are ``offsets[f]:offsets[f+1]``."""
        return np.concatenate([[0], np.cumsum(self.n_atoms)]).astype(np.int64)

    @property
    def charge(self) -> NDArray[np.int64]:
        """i64 [F]: the net charge of each frame's molecule, in e."""
        return self.molecules.charge[self.molecule_id]

    @property
    def split(self) -> NDArray[np.int64]:
        """i64 [F]: the split of each frame's molecule, codes of :class:`Split`."""
        return self.molecules.split[self.molecule_id]

    def atoms_of(self, frame: int) -> slice:
        """Where the atoms of a frame are in the per-atom arrays."""
        return slice(int(self.offsets[frame]), int(self.offsets[frame + 1]))

    def frame_indices(self, split: str) -> NDArray[np.int64]:
        """i64: the frames of ``train``, ``validation`` or ``test``, ascending.

        Raises:
            DatasetMismatchError: if there is no split of that name.
        """
        names = [member.name.lower() for member in Split]
        if split not in names:
            raise DatasetMismatchError(f"received split {split!r}", expected=f"one of {names}")
        return np.flatnonzero(self.split == Split[split.upper()]).astype(np.int64)

    def select(self, indices: NDArray[np.int64]) -> "Dataset":
        """These frames, in this order, with only the molecules that they need."""
        indices = np.asarray(indices, dtype=np.int64)
        counts = self.n_atoms[indices]
        before = np.cumsum(counts) - counts
        atoms = np.repeat(self.offsets[indices] - before, counts) + np.arange(counts.sum())
        rows, first_row = np.unique(self.molecule_id[indices], return_inverse=True)
        changes: dict[str, Any] = {name: getattr(self, name) for name in (*PER_ATOM, *PER_FRAME)}
        for name, array in changes.items():
            if array is not None:
                changes[name] = array[atoms if name in PER_ATOM else indices]
        changes |= {"molecule_id": first_row.astype(np.int64), "dropped": {}}
        return replace(self, molecules=self.molecules.take(rows), **changes)

    def content_hash(self) -> str:
        """SHA-256 (hex) of everything a model could learn from: arrays, molecules and teacher."""
        return combined_hash(self.columns(), self.teacher)

    def columns(self) -> Columns:
        """All arrays as files have them, quantised; not seed, job or code version."""
        columns: Columns = {
            "offsets": self.offsets,
            "atomic_numbers": self.atomic_numbers.astype(np.uint8),
            "positions": to_steps(self.positions, POSITION_STEPS_PER_ANGSTROM),
            "cells": self.cells,
            "pbc": self.pbc,
            "molecule_id": self.molecule_id,
            "source": self.source.astype(np.uint8),
            "temperature": self.temperature,
            "flags": self.flags.astype(np.uint8),
            "fragment": self.fragment.astype(np.uint8),
            "charge": self.charge.astype(np.int8),
        }
        if self.energies is not None and self.forces is not None:
            columns["energies"] = self.energies
            columns["forces"] = to_force_steps(self.forces)
        if self.virials is not None:
            columns["virials"] = self.virials
        if self.charges is not None:
            columns["charges"] = to_charge_steps(self.charges)
        if self.force_spread is not None:
            columns["force_spread"] = self.force_spread.astype(np.float32)
        if self.separated_energies is not None:
            columns["separated_energies"] = self.separated_energies
        columns |= self.molecules.columns()
        return columns


def from_frames(frames: Sequence[Frame], molecules: MoleculeTable, **metadata: Any) -> Dataset:
    """An unlabelled dataset of open structures, its positions quantised."""
    count = len(frames)
    n_atoms = np.array([len(frame.atomic_numbers) for frame in frames], dtype=np.int64)
    numbers = [frame.atomic_numbers for frame in frames]
    positions = [frame.positions for frame in frames]
    fragments = [
        np.zeros(len(frame.atomic_numbers), dtype=np.int64)
        if frame.fragment is None
        else frame.fragment
        for frame in frames
    ]
    return Dataset(
        n_atoms=n_atoms,
        atomic_numbers=np.concatenate([np.empty(0, dtype=np.int64), *numbers]),
        positions=quantise_positions(np.concatenate([np.empty((0, 3)), *positions])),
        cells=np.zeros((count, 3, 3)),
        pbc=np.zeros((count, 3), dtype=np.bool_),
        molecule_id=np.array([frame.molecule_id for frame in frames], dtype=np.int64),
        source=np.array([frame.source for frame in frames], dtype=np.int64),
        temperature=np.array([frame.temperature for frame in frames], dtype=np.float64),
        flags=np.zeros(count, dtype=np.int64),
        fragment=np.concatenate([np.empty(0, dtype=np.int64), *fragments]),
        molecules=molecules,
        **metadata,
    )


def with_labels(
    dataset: Dataset, labels: Labels, teacher: TeacherRecord, flags: NDArray[np.int64]
) -> Dataset:
    """The dataset with labels (forces are quantised here) and ``flags`` [F]."""
    return replace(
        dataset,
        energies=labels.energies,
        forces=quantise_forces(labels.forces),
        charges=None if labels.charges is None else quantise_charges(labels.charges),
        force_spread=_as_stored(labels.force_spread),
        separated_energies=labels.separated_energies,
        teacher=teacher,
        flags=flags,
    )


def without_labels(dataset: Dataset) -> Dataset:
    """The same geometries, to be labelled by another teacher; nothing of them is dropped yet."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("energies", "forces", "virials", "teacher", *MAYBE_UNKNOWN)
    )
    return replace(dataset, flags=np.zeros_like(dataset.flags), dropped={}, **nothing)


def concatenate(datasets: Sequence[Dataset]) -> Dataset:
    """All frames of several datasets, in order; each molecule once in the table.

    Seed, code version and job are kept where all agree. Virials are kept where all have them;
    charges, force spreads and energies of parts where any has, NaN elsewhere.

    Raises:
        DatasetMismatchError: if there is none, if labels are of different teachers or partly
            missing, or if a molecule is in two splits.
    """
    if not datasets:
        raise DatasetMismatchError("received no dataset", expected="at least one")
    teachers = {None if d.teacher is None else d.teacher.to_json() for d in datasets}
    if len(teachers) > 1:
        raise DatasetMismatchError(
            f"received datasets labelled by {sorted(map(str, teachers))} (None: unlabelled)",
            expected="one teacher with one set of settings",
            action="label them alike first",
        )
    molecules, mappings = merge_tables([d.molecules for d in datasets])
    merged: dict[str, Any] = {}
    for name in (*PER_ATOM, *PER_FRAME):
        arrays = [getattr(d, name) for d in datasets]
        if name in MAYBE_UNKNOWN and any(a is not None for a in arrays):
            arrays = [
                np.full(_length(name, d), np.nan) if a is None else a
                for a, d in zip(arrays, datasets, strict=True)
            ]
        merged[name] = None if any(a is None for a in arrays) else np.concatenate(arrays)
    merged["molecule_id"] = np.concatenate(
        [mapping[d.molecule_id] for mapping, d in zip(mappings, datasets, strict=True)]
    )
    for name in ("seed", "code_version", "job"):
        first = getattr(datasets[0], name)
        agreed = all(getattr(d, name) == first for d in datasets)
        default = next(f for f in fields(Dataset) if f.name == name)
        merged[name] = first if agreed else ({} if default.name == "job" else None)
    dropped: Counter[str] = Counter()
    for dataset in datasets:
        dropped.update(dataset.dropped)
    return Dataset(
        molecules=molecules, teacher=datasets[0].teacher, dropped=dict(dropped), **merged
    )


def _length(name: str, dataset: Dataset) -> int:
    return len(dataset.atomic_numbers) if name in PER_ATOM else len(dataset)


def _as_stored(values: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    return None if values is None else values.astype(np.float32).astype(np.float64)
