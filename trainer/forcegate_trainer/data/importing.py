"""Frames that were labelled elsewhere, as a dataset that students are fitted to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.io import iread

from forcegate_client.dataset import (
    Dataset,
    Frame,
    Labels,
    MoleculeTable,
    Source,
    TeacherRecord,
    from_frames,
    with_labels,
    write_dataset,
)
from forcegate_client.electrons import electrons_of
from forcegate_client.errors import InvalidStructure
from forcegate_service.watch.capture.fingerprint import composition
from forcegate_trainer.data.labelling.checks import MAX_FORCE
from forcegate_trainer.data.molecules.identity import identify
from forcegate_trainer.data.molecules.perception import perceive, unperceived
from forcegate_trainer.data.molecules.splits import DEFAULT_SHARES, Shares, split_molecules
from forcegate_trainer.errors import MoleculeError, SettingsError

__all__ = ["ImportSettings", "import_files"]

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ImportSettings:
    """What the files do not say.

    ``method`` and ``level`` name what made the labels. ``energy``, ``forces`` and ``charges`` are
    the keys under which they are in ``info`` and ``arrays``, where they are not under ASE's own
    names. ``group`` is a key in ``info`` whose value names the molecule of a frame; without it the
    molecule is read off the geometry.
    """

    method: str
    level: str = ""
    energy: str = "energy"
    forces: str = "forces"
    charges: str = "charges"
    group: str = ""
    split_seed: int = 0
    shares: Shares = DEFAULT_SHARES


@dataclass(frozen=True)
class _Labelled:
    """One frame: ``charges`` [n] in e are None where the file has none."""

    atoms: Atoms
    energy: float
    forces: Float
    charges: Float | None
    net_charge: int
    multiplicity: int


@dataclass
class _Molecules:
    """Rows of the molecule table in the making."""

    rows: dict[tuple[str, int, int], int] = field(default_factory=dict)
    keys: list[tuple[str, str]] = field(default_factory=list)

    def row(self, frame: _Labelled, group: str) -> int:
        smiles, inchikey, key = _identity(frame, group)
        identity = (smiles, frame.net_charge, frame.multiplicity)
        if identity not in self.rows:
            self.rows[identity] = len(self.keys)
            self.keys.append((inchikey, key))
        return self.rows[identity]

    def table(self, settings: ImportSettings) -> MoleculeTable:
        keys = [key for _, key in self.keys]
        splits = split_molecules(keys, settings.split_seed, settings.shares)
        identities = list(self.rows)
        return MoleculeTable(
            smiles=tuple(smiles for smiles, _, _ in identities),
            inchikey=tuple(inchikey for inchikey, _ in self.keys),
            split_key=tuple(keys),
            charge=np.array([charge for _, charge, _ in identities], dtype=np.int64),
            multiplicity=np.array([m for _, _, m in identities], dtype=np.int64),
            split=np.array(splits, dtype=np.int64),
        )


def import_files(paths: Sequence[Path], out: Path, settings: ImportSettings) -> Dataset:
    """Write the labelled frames of all files as one dataset; what cannot be used is counted.

    Raises:
        SettingsError: if a file cannot be read, or no frame has an energy and forces.
    """
    dropped: Counter[str] = Counter()
    molecules = _Molecules()
    frames: list[Frame] = []
    labelled: list[_Labelled] = []
    for path in paths:
        for atoms in _read(path):
            found = _labels(atoms, settings)
            if isinstance(found, str):
                dropped[found] += 1
                continue
            numbers = found.atoms.numbers.astype(np.int64)
            row = molecules.row(found, settings.group)
            frames.append(Frame(numbers, found.atoms.positions, row, Source.IMPORTED))
            labelled.append(found)
    if not labelled:
        raise SettingsError(
            f"received {', '.join(map(str, paths))} without a usable frame ({dict(dropped)}); "
            f"expected energies under {settings.energy!r} and forces under {settings.forces!r}: "
            "name other keys with --energy-key and --forces-key"
        )
    bare = from_frames(
        frames,
        molecules.table(settings),
        seed=settings.split_seed,
        code_version=version("forcegate"),
        dropped=dict(dropped),
        job={"command": "import", "files": [path.name for path in paths]},
    )
    record = TeacherRecord(settings.method, "imported", {"level": settings.level})
    dataset = with_labels(_with_cells(bare, labelled), _joined(labelled), record, bare.flags)
    write_dataset(out, dataset)
    return dataset


def _read(path: Path) -> Iterator[Atoms]:
    if not path.is_file():
        raise SettingsError(
            f"received {path}, where no file is; expected an existing file of labelled frames that "
            "ASE reads: check the path; frames without labels are those of `forcegate-train "
            "sample` and `label`"
        )
    try:
        yield from iread(path, index=":")
    # ASE's readers raise whatever the first strange line makes them raise.
    except Exception as error:
        raise SettingsError(
            f"received {path}, which ASE cannot read ({type(error).__name__}: {error}); expected "
            "extxyz, an ASE database or trajectory"
        ) from error


def _labels(atoms: Atoms, settings: ImportSettings) -> _Labelled | str:
    """The frame with its labels, or why it cannot be used."""
    results: dict[str, Any] = dict(atoms.calc.results) if atoms.calc is not None else {}
    energy = results.get(settings.energy, atoms.info.get(settings.energy))
    forces = results.get(settings.forces, atoms.arrays.get(settings.forces))
    charges = results.get(settings.charges, atoms.arrays.get(settings.charges))
    if energy is None or forces is None:
        return "no_energy_or_forces"
    forces = np.asarray(forces, dtype=np.float64)
    if not (np.isfinite(float(energy)) and np.isfinite(forces).all()):
        return "not_finite"
    if forces.shape != (len(atoms), 3):
        return "forces_of_another_shape"
    if len(atoms) and np.linalg.norm(forces, axis=1).max() > MAX_FORCE:
        return "force_too_large"
    try:
        charge, multiplicity = electrons_of(atoms)
    except InvalidStructure:
        return "charge_or_spin_unclear"
    return _Labelled(
        atoms,
        float(energy),
        forces,
        None if charges is None else np.asarray(charges, dtype=np.float64),
        charge,
        multiplicity,
    )


def _identity(frame: _Labelled, group: str) -> tuple[str, str, str]:
    """SMILES, InChIKey and split key of a frame's molecule; a name where it has no SMILES."""
    info = frame.atoms.info
    if group:
        if group not in info:
            raise SettingsError(
                f"received a frame without {group!r} in its info; expected the name of its "
                "molecule there, as --group-key says"
            )
        name = str(info[group])
        return name, "", f"group-{name}"
    if "smiles" in info:
        try:
            molecule = identify(str(info["smiles"]))
        except MoleculeError:
            pass
        else:
            return molecule.smiles, molecule.inchikey, molecule.split_key
    numbers, positions = frame.atoms.numbers.astype(np.int64), frame.atoms.positions
    formula = composition(numbers)
    if frame.atoms.pbc.any():
        return formula, "", f"composition-{formula}"
    try:
        parts = perceive(numbers, positions, frame.net_charge)
    except MoleculeError:
        try:
            unclear = unperceived(numbers, positions)
        except MoleculeError:
            return formula, "", f"composition-{formula}"
        return unclear.smiles, "", unclear.split_key
    return (
        ".".join(part.smiles for part in parts),
        ".".join(part.inchikey for part in parts),
        ".".join(part.split_key for part in parts),
    )


def _with_cells(dataset: Dataset, frames: Sequence[_Labelled]) -> Dataset:
    return replace(
        dataset,
        cells=np.array([frame.atoms.cell.array for frame in frames]).reshape(-1, 3, 3),
        pbc=np.array([frame.atoms.pbc for frame in frames], dtype=np.bool_).reshape(-1, 3),
    )


def _joined(frames: Sequence[_Labelled]) -> Labels:
    charges = [np.full(len(f.atoms), np.nan) if f.charges is None else f.charges for f in frames]
    return Labels(
        energies=np.array([frame.energy for frame in frames]),
        forces=np.concatenate([frame.forces for frame in frames]),
        charges=np.concatenate(charges),
    )
