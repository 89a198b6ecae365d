"""The HDF5 schema, from a file that the code has just written."""

from __future__ import annotations

import enum
import re
import tempfile
from pathlib import Path

import h5py
import numpy as np

from forcegate_client.dataset import (
    Flag,
    Frame,
    Labels,
    MoleculeTable,
    Source,
    Split,
    TeacherRecord,
    from_frames,
    schema,
    with_labels,
    write_dataset,
)

__all__ = ["hdf5_schema"]

_HEAD = """# HDF5 schema

One file is one dataset: F frames with N atoms in total, of M molecules. This page is made from a
file that the code has just written, schema version {version};
[the data](../dataset.md#the-format) says why it is so, and
[the Python reference](python-dataset.md) how it is read and written.

## Arrays

Each carries the SHA-256 of its bytes in its attribute `sha256`. `virials` (f64 [F, 3, 3], eV,
−dE/dstrain) is optional; `energies`, `forces` and what a teacher may say besides (`charges`,
`force_spread`, `separated_energies`) are absent before labelling.

| array | stored as | meaning |
|---|---|---|
"""
# Sizes that differ, so that a shape tells which is which.
_SIZES = {5: "F+1", 4: "F", 14: "N", 2: "M"}
_MEANING = re.compile(r"^``([\w/]+)`` +\S+ +(?:\[[^\]]*\])? *(.*)$", re.MULTILINE)


def hdf5_schema() -> str:
    """Arrays, codes and attributes of a labelled file."""
    meaning = dict(_MEANING.findall(schema.__doc__ or ""))
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "example.h5"
        _write(path)
        with h5py.File(path) as file:
            names: list[str] = []
            file.visititems(
                lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
            )
            for name in names:
                shape = ", ".join(_SIZES.get(size, str(size)) for size in file[name].shape)
                said = _as_markdown(meaning.get(name, ""))
                lines.append(f"| `{name}` | {_kind(file[name])} [{shape}] | {said} |")
            attributes = sorted(file.attrs)
    lines += ["", "## Attributes of the file", "", ", ".join(f"`{name}`" for name in attributes)]
    lines += ["", "## Units", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {unit} |" for name, unit in schema.UNITS.items()]
    for codes in (Source, Split, Flag):
        lines += ["", f"## Codes of `{codes.__name__.lower()}`", "", *_codes(codes)]
    return _HEAD.format(version=schema.SCHEMA_VERSION) + "\n".join(lines) + "\n"


def _write(path: Path) -> None:
    water = (np.array([8, 1, 1]), np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]))
    methane = (np.array([6, 1, 1, 1, 1]), np.vstack([np.zeros(3), np.eye(3), -np.ones(3)]))
    pairs = [(water, 0), (water, 0), (water, 0), (methane, 1)]
    frames = [Frame(*kind, molecule, Source.CONFORMER) for kind, molecule in pairs]
    names = ["O", "C"]
    table = MoleculeTable.closed_shell(names, names, names, [Split.TRAIN, Split.TRAIN])
    bare = from_frames(frames, table, seed=0)
    atoms = int(bare.n_atoms.sum())
    teacher = TeacherRecord("example", "1", {})
    per_frame, per_atom = np.zeros(len(frames)), np.zeros(atoms)
    labels = Labels(per_frame, np.zeros((atoms, 3)), per_atom, per_frame, per_frame)
    write_dataset(path, with_labels(bare, labels, teacher, bare.flags))


def _kind(array: h5py.Dataset) -> str:
    if array.dtype.kind in "OS":
        return "text"
    if array.dtype.kind == "b":
        return "bool"
    return f"{array.dtype.kind}{array.dtype.itemsize * 8}"


def _as_markdown(text: str) -> str:
    return re.sub(r":class:`(\w+)`", r"`\1`", text.strip()).replace("``", "`")


def _codes(kind: type[enum.IntEnum] | type[enum.IntFlag]) -> list[str]:
    return ["| code | name |", "|---|---|", *(f"| {one.value} | `{one.name}` |" for one in kind)]
