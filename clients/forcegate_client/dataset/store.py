"""Datasets on disk. A file is complete and verified, or it is not there.

HDF5 files that are open for writing survive neither ``kill -9`` nor a full disk, on which the
library ends the process. So a file is built in memory, and its bytes are written as a whole
(:mod:`forcegate_client.writing.atomic`). Work that grows over hours is kept in parts
(:mod:`forcegate_client.dataset.parts`).
"""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from forcegate_client.dataset.errors import (
    DatasetCorruptError,
    DatasetMismatchError,
    DatasetNotFoundError,
    DatasetNotWrittenError,
)
from forcegate_client.dataset.frames import Dataset, concatenate
from forcegate_client.dataset.hashing import Columns, checksum, combined_hash
from forcegate_client.dataset.molecules import MoleculeTable
from forcegate_client.dataset.schema import (
    POSITION_STEPS_PER_ANGSTROM,
    READABLE_VERSIONS,
    SCHEMA_VERSION,
    UNITS,
    Source,
    Split,
    TeacherRecord,
    from_charge_steps,
    from_force_steps,
)
from forcegate_client.writing.atomic import write_atomically

WRITE_AGAIN = "write it again from its source"


def write_dataset(path: str | Path, dataset: Dataset, mode: int = 0o666) -> None:
    """Write the file, replacing one of that name as a whole or not at all.

    ``mode`` is that of the new file, less what the process's umask forbids.

    Raises:
        DatasetNotWrittenError: if there is no room for it, or the folder takes no files; a file
            that was there before stays as it was.
    """
    put_file(Path(path), _to_hdf5(dataset), mode)


def put_file(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file of a dataset, in a folder that is made if need be, as a whole or not at all.

    Raises:
        DatasetNotWrittenError: as :func:`write_dataset`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content, mode)
    except OSError as error:
        raise DatasetNotWrittenError(
            f"{path}, {len(content):,} bytes: {error.strerror or error}",
            expected="room on a disk that this user can write to",
            action="make room and do the same again, or choose another folder",
        ) from error


def append_dataset(path: str | Path, more: Dataset) -> Dataset:
    """Add frames to the end of a file (created if absent); returns the whole.

    Raises:
        DatasetMismatchError: if the frames do not belong there: another teacher, or a molecule in
            another split.
    """
    path = Path(path)
    whole = concatenate([load_dataset(path), more]) if path.exists() else more
    write_dataset(path, whole)
    return whole


def load_dataset(path: str | Path) -> Dataset:
    """Read a file whole and verify every checksum.

    Raises:
        DatasetNotFoundError: if there is no such file.
        DatasetCorruptError: if it cannot be read as HDF5, misses an array, or a checksum does not
            match.
        DatasetMismatchError: if it was written under another version of the schema.
    """
    path = Path(path)
    if not path.is_file():
        raise _not_found(path)
    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
            _check_version(path, attributes)
            columns: Columns = {}
            expected = {}
            for name in _dataset_names(file):
                columns[name] = file[name][()]
                expected[name] = file[name].attrs["sha256"]
    except (OSError, KeyError, RuntimeError) as error:
        raise DatasetCorruptError(
            f"{path} cannot be read as a dataset ({error}): it is damaged or something else",
            action=WRITE_AGAIN,
        ) from error
    for name, values in columns.items():
        if checksum(name, values) != expected[name]:
            raise DatasetCorruptError(
                f"{path}: the content of {name!r} does not match its checksum",
                expected="a file that was neither damaged nor edited",
                action=WRITE_AGAIN,
            )
    try:
        dataset = _from_columns(columns, attributes)
    except (KeyError, json.JSONDecodeError) as error:
        raise DatasetCorruptError(
            f"{path} misses {error}", expected="a complete dataset", action=WRITE_AGAIN
        ) from error
    if combined_hash(columns, dataset.teacher) != attributes.get("content_hash"):
        raise DatasetCorruptError(
            f"{path}: arrays, molecules and teacher do not match the file's content hash",
            expected="a file that was neither damaged nor edited",
            action=WRITE_AGAIN,
        )
    return dataset


def _to_hdf5(dataset: Dataset) -> bytes:
    columns = dataset.columns()
    image = BytesIO()
    with h5py.File(image, "w") as file:
        for name, values in columns.items():
            compression = {"compression": "gzip", "shuffle": True} if values.size else {}
            stored = file.create_dataset(name, data=values, **compression)
            stored.attrs["sha256"] = checksum(name, values)
        file.attrs.update(_attributes(dataset))
        file.attrs["content_hash"] = combined_hash(columns, dataset.teacher)
    return image.getvalue()


def _from_columns(columns: Columns, attributes: dict[str, Any]) -> Dataset:
    def text(name: str) -> tuple[str, ...]:
        return tuple(value.decode() for value in columns[f"molecules/{name}"].tolist())

    forces, charges = columns.get("forces"), columns.get("charges")
    spread = columns.get("force_spread")
    whole = np.zeros(len(columns["atomic_numbers"]), dtype=np.uint8)
    teacher = attributes.get("teacher")
    seed = attributes.get("seed")
    return Dataset(
        n_atoms=np.diff(columns["offsets"]),
        atomic_numbers=columns["atomic_numbers"].astype(np.int64),
        positions=columns["positions"] / POSITION_STEPS_PER_ANGSTROM,
        cells=columns["cells"],
        pbc=columns["pbc"],
        molecule_id=columns["molecule_id"],
        source=columns["source"].astype(np.int64),
        temperature=columns["temperature"],
        flags=columns["flags"].astype(np.int64),
        molecules=MoleculeTable(
            text("smiles"),
            text("inchikey"),
            text("split_key"),
            columns["molecules/charge"],
            columns["molecules/multiplicity"],
            columns["molecules/split"].astype(np.int64),
        ),
        energies=columns.get("energies"),
        forces=None if forces is None else from_force_steps(forces),
        virials=columns.get("virials"),
        fragment=columns.get("fragment", whole).astype(np.int64),
        charges=None if charges is None else from_charge_steps(charges),
        force_spread=None if spread is None else spread.astype(np.float64),
        separated_energies=columns.get("separated_energies"),
        teacher=None if teacher is None else TeacherRecord.from_json(teacher),
        seed=None if seed is None else int(seed),
        code_version=attributes.get("code_version"),
        dropped=json.loads(attributes["dropped"]),
        job=json.loads(attributes["job"]),
    )


def _attributes(dataset: Dataset) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "units": json.dumps(UNITS, ensure_ascii=False),
        "source_names": json.dumps({member.name.lower(): member.value for member in Source}),
        "split_names": json.dumps({member.name.lower(): member.value for member in Split}),
        "dropped": json.dumps(dict(dataset.dropped), sort_keys=True),
        "job": json.dumps(dict(dataset.job), sort_keys=True),
    }
    if dataset.teacher is not None:
        attributes["teacher"] = dataset.teacher.to_json()
    for name in ("seed", "code_version"):
        if getattr(dataset, name) is not None:
            attributes[name] = getattr(dataset, name)
    return attributes


def _not_found(path: Path) -> DatasetNotFoundError:
    """That there is no file at ``path``, and which command makes it, as far as anybody knows."""
    recipe, parts = path.with_suffix(".sh"), path.with_name(f"{path.name}.parts")
    if parts.is_dir():
        action = f"run the command again that was making it: {parts} holds what it has done"
    elif recipe.is_file():
        action = f"run its recipe in an empty folder: sh {recipe.resolve()}"
    else:
        action = (
            "check the path; forcegate-train sample makes frames of molecules, and forcegate-train "
            "label labels them"
        )
    return DatasetNotFoundError(
        f"{path}, where no file is", expected="an existing HDF5 dataset", action=action
    )


def _check_version(path: Path, attributes: dict[str, Any]) -> None:
    version = attributes.get("schema_version")
    if version is None:
        raise DatasetCorruptError(
            f"{path} is HDF5 but has no schema_version",
            expected="a dataset written by forcegate",
            action="forcegate-train import makes one of other people's labelled frames",
        )
    if version not in READABLE_VERSIONS:
        raise DatasetMismatchError(
            f"{path} has schema version {version}",
            expected=" or ".join(map(str, READABLE_VERSIONS)),
            action="read it with the release that wrote it",
        )


def _dataset_names(file: h5py.File) -> list[str]:
    names: list[str] = []

    def collect(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset):
            names.append(name)

    file.visititems(collect)
    return names
