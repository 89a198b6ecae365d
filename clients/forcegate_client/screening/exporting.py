"""The selected rows of ``results.h5`` for other programs: extended XYZ, CSV or Parquet."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from forcegate_client.electrons import NEUTRAL_SINGLET, electrons_of
from forcegate_client.extras import needing
from forcegate_client.reading.inputs import Input
from forcegate_client.reading.library import open_library
from forcegate_client.screening.errors import ResultsMismatch
from forcegate_client.screening.failures import remarks_of
from forcegate_client.screening.manifest import Manifest, file_digest
from forcegate_client.screening.part import NAMES
from forcegate_client.writing.extxyz import naming_lost_constraints
from forcegate_client.writing.files import replacing

__all__ = ["ExportFormat", "export", "require_package"]

_ROWS = 4096


class ExportFormat(StrEnum):
    """What can be written."""

    EXTXYZ = "extxyz"
    CSV = "csv"
    PARQUET = "parquet"


def export(results: Path, kind: ExportFormat) -> Path:
    """Write the selected rows beside ``results``; the path of the new file.

    Raises:
        PackageMissing: for Parquet without pyarrow.
        ResultsMismatch: for extended XYZ, if the input is not there any more or has changed.
    """
    require_package(kind)
    target = results.with_name(f"selected.{kind.value}")
    writer = {
        ExportFormat.EXTXYZ: _write_extxyz,
        ExportFormat.CSV: _write_csv,
        ExportFormat.PARQUET: _write_parquet,
    }[kind]
    with h5py.File(results, "r") as file, replacing(target) as aside:
        writer(file, aside)
    return target


def require_package(kind: ExportFormat) -> None:
    """Find out before the work begins whether its results can be written as ``kind``.

    Raises:
        PackageMissing: for Parquet without pyarrow.
    """
    if kind is ExportFormat.PARQUET:
        with needing("screening", "Parquet"):
            importlib.import_module("pyarrow")


def _blocks(file: h5py.File) -> Iterator[tuple[dict[str, npt.NDArray[Any]], slice]]:
    """Columns of some rows at a time, and which rows these are."""
    rows = file["rows"]
    for start in range(0, len(rows["index"]), _ROWS):
        where = slice(start, start + _ROWS)
        yield (
            {n: rows[n].asstr()[where] if n in NAMES else rows[n][where] for n in rows},
            where,
        )


def _selected(file: h5py.File) -> Iterator[dict[str, npt.NDArray[Any]]]:
    manifest = Manifest(**json.loads(file.attrs["manifest"]))
    remarks = remarks_of(file)
    for columns, _ in _blocks(file):
        keep = columns.pop("selected")
        found = {name: values[keep] for name, values in columns.items()}
        index = found["index"].tolist()
        places = manifest.places(index)
        found["source"] = np.array([source for source, _ in places], dtype=object)
        found["record"] = np.array([number for _, number in places], dtype=np.int64)
        said = (" | ".join(remarks.get(one, ())) for one in index)
        found["remarks"] = np.array(list(said), dtype=object)
        yield _in_order(found)


def _in_order(columns: dict[str, Any]) -> dict[str, Any]:
    """What says which structure it is comes first; where it comes from and remarks come last."""
    first = [name for name in ("index", "label") if name in columns]
    last = [name for name in ("smiles", "source", "record", "remarks") if name in columns]
    rest = sorted(columns.keys() - {*first, *last})
    return {name: columns[name] for name in [*first, *rest, *last]}


def _write_csv(file: h5py.File, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        names = {*file["rows"], "source", "record", "remarks"} - {"selected"}
        writer.writerow(_in_order(dict.fromkeys(names)))
        for columns in _selected(file):
            writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))


def _write_parquet(file: h5py.File, path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    writer = None
    try:
        for columns in _selected(file):
            table = pyarrow.table({name: pyarrow.array(v) for name, v in columns.items()})
            if writer is None:
                writer = parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        parquet.write_table(pyarrow.table({"index": pyarrow.array([], pyarrow.int64())}), path)


def _write_extxyz(file: h5py.File, path: Path) -> None:
    """Structures come from the input again; positions from the results, if the task moved them."""
    manifest = json.loads(file.attrs["manifest"])
    inputs = [Input.from_json(entry) for entry in manifest["files"]]
    for entry, source in zip(manifest["files"], inputs, strict=True):
        if not source.path.is_file() or file_digest(source.path) != entry["sha256"]:
            raise ResultsMismatch(
                f"{source.path}, which is gone or has changed",
                expected="the input, from which extended XYZ takes the structures",
                action="put it back, or export csv",
            )
    atoms_of = file.get("atoms", {})
    end = 0
    library = open_library(inputs)
    try:
        with path.open("w", encoding="utf-8") as stream:
            for columns, _ in _blocks(file):
                ends = end + np.cumsum(columns["n_atoms"])
                wanted = columns["index"][columns["selected"]]
                if len(wanted):
                    first = int(wanted[0])
                    records = library.read(first, int(wanted[-1]) + 1)
                    frames = []
                    for row in np.flatnonzero(columns["selected"]).tolist():
                        atoms = records[int(columns["index"][row]) - first].atoms
                        assert atoms is not None
                        place = slice(int(ends[row]) - len(atoms), int(ends[row]))
                        frame = _completed(atoms, columns, row, atoms_of, place)
                        frames.append(naming_lost_constraints(frame))
                    write(stream, frames, format="extxyz")
                end = int(ends[-1])
    finally:
        library.close()


def _completed(
    given: Atoms, columns: dict[str, npt.NDArray[Any]], row: int, atoms_of: Any, place: slice
) -> Atoms:
    """What was computed, with what its results depend on, and masses and constraints."""
    atoms = Atoms(given.numbers, given.positions, cell=given.cell, pbc=given.pbc)
    if given.has("masses"):
        atoms.set_masses(given.get_masses())
    if "positions" in atoms_of:
        atoms.positions = atoms_of["positions"][place]
    atoms.set_constraint(given.constraints)
    charge, multiplicity = electrons_of(given)
    if (charge, multiplicity) != NEUTRAL_SINGLET:
        atoms.info |= {"charge": charge, "multiplicity": multiplicity}
    energy = float(columns["energy"][row])
    results: dict[str, Any] = {"energy": energy, "free_energy": energy}
    if "forces" in atoms_of:
        results["forces"] = atoms_of["forces"][place]
    atoms.calc = SinglePointCalculator(atoms, **results)
    for name, values in _in_order(columns).items():
        value = values[row] if name in NAMES else values[row].item()
        # Extended XYZ has no empty text: the entry after it would be taken for its value.
        if name not in ("energy", "selected", "n_atoms") and value != "":
            atoms.info[name] = value
    return atoms
