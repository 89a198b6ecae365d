"""All parts of a screening, of one folder or of all its shards, as one file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from forcegate_client.messages import UNITS
from forcegate_client.screening.errors import ResultsMismatch
from forcegate_client.screening.manifest import Manifest
from forcegate_client.screening.part import (
    TEXT,
    Part,
    read_part,
    string_array,
)
from forcegate_client.screening.where import Condition
from forcegate_client.writing.files import ForgivingFile, replacing

__all__ = ["RESULTS", "folders_of", "merge"]

RESULTS = "results.h5"
SCHEMA_VERSION = 1
_UNITS = UNITS | {
    "energy_per_atom": "eV",
    "max_force": "eV/Å",
    "positions": "Å",
    "n_atoms": "1",
}

Array = npt.NDArray[Any]


def merge(out: str | Path, *, where: str | None = None) -> Path:
    """Write ``results.h5`` in ``out``, with ``selected`` rows as ``where`` says; its path.

    One part is in memory at a time. Parts stay: failures that may pass can still be tried again.

    Raises:
        ResultsMismatch: if parts or shards are missing, or of different work.
        WhereInvalid: if ``where`` is no condition over the columns.
        OutputUnwritable: if there is no room for it; an earlier file is as it was.
    """
    out = Path(out)
    jobs = folders_of(out)
    first = jobs[0][1]
    condition = None if where is None else Condition(where, columns_of(first))
    target = out / RESULTS
    with replacing(target) as aside, ForgivingFile(aside) as stream:
        with h5py.File(stream, "w") as file:
            table = _Table(file)
            for part in _parts(jobs):
                table.add(part, condition)
                stream.require_room()
            file.attrs.update(_attributes(jobs, where))
            table.finish()
        stream.require_room()
    return target


def columns_of(manifest: Manifest) -> tuple[str, ...]:
    """What ``where`` may be about."""
    return tuple(manifest.settings["columns"])


def folders_of(out: Path) -> list[tuple[Path, Manifest]]:
    """The folders that together hold all of a screening, in order of their structures.

    Raises:
        ResultsMismatch: if there are none, some are missing, or they are of different work.
    """
    candidates = [out, *sorted(out.glob("shard-*-of-*"))]
    jobs = [(folder, found) for folder in candidates if (found := Manifest.read(folder))]
    if not jobs:
        raise ResultsMismatch(
            f"{out}, which holds no manifest",
            expected="the --out of a forcegate screen",
            action="check the path",
        )
    first_folder, first = jobs[0]
    count = first.shard["count"]
    for folder, other in jobs[1:]:
        same = replace(other, start=first.start, stop=first.stop, shard=first.shard)
        same.require_same(first, first_folder)
        if other.shard["count"] != count:
            raise ResultsMismatch(
                f"{folder}, one of {other.shard['count']} shards, beside {first_folder}, "
                f"one of {count}",
                expected="shards of one division",
                action="move the others away",
            )
    missing = sorted(set(range(1, count + 1)) - {m.shard["number"] for _, m in jobs})
    if missing:
        raise ResultsMismatch(
            f"{len(jobs)} of {count} shards; missing: {', '.join(map(str, missing[:20]))}",
            expected="all of them",
            action=f"run forcegate screen with --shard {missing[0]}/{count}",
        )
    return sorted(jobs, key=lambda job: job[1].start)


class _Table:
    """Columns that grow part by part."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file

    def add(self, part: Part, condition: Condition | None) -> None:
        rows = len(part.index)
        for name, values in part.columns.items():
            self._append(f"rows/{name}", values)
        selected = np.ones(rows, dtype=np.bool_)
        if condition is not None and rows:
            selected = condition(part.columns)
        self._append("rows/selected", selected)
        for name, values in part.per_atom.items():
            self._append(f"atoms/{name}", values)
        failures = part.failures
        self._append("failures/index", np.array([f.index for f in failures], dtype=np.int64))
        self._append("failures/code", string_array(f.code for f in failures))
        self._append("failures/detail", string_array(f.detail for f in failures))
        self._append("failures/transient", np.array([f.transient for f in failures], dtype=bool))
        self._append("failures/label", string_array(f.label for f in failures))
        self._append("failures/smiles", string_array(f.smiles for f in failures))
        self._append("warnings/index", np.array([i for i, _ in part.warnings], dtype=np.int64))
        self._append("warnings/text", string_array(text for _, text in part.warnings))

    def finish(self) -> None:
        """Units at the columns."""
        for name in self._file["rows"]:
            if name in _UNITS:
                self._file["rows"][name].attrs["unit"] = _UNITS[name]
        for name in self._file.get("atoms", ()):
            self._file["atoms"][name].attrs["unit"] = _UNITS[name]

    def _append(self, name: str, values: Array) -> None:
        if name not in self._file:
            shape = values.shape[1:]
            text = values.dtype == object
            self._file.create_dataset(
                name,
                shape=(0, *shape),
                maxshape=(None, *shape),
                chunks=(4096, *shape),
                dtype=TEXT if text else values.dtype,
            )
        stored = self._file[name]
        size = len(stored)
        if len(values):
            stored.resize(size + len(values), axis=0)
            stored[size:] = values


def _parts(jobs: list[tuple[Path, Manifest]]) -> Iterator[Part]:
    for folder, manifest in jobs:
        missing = []
        for start, stop in manifest.parts:
            path = manifest.part_path(folder, start)
            part = read_part(path, manifest.fingerprint) if path.exists() else None
            if part is None:
                missing.append((start, stop))
            elif not missing:
                yield part
        if missing:
            lost = sum(stop - start for start, stop in missing)
            raise ResultsMismatch(
                f"{folder}, which lacks {lost} of {manifest.stop - manifest.start} structures, "
                f"the first {missing[0][0]}",
                expected="a screening that has ended",
                action="run the same forcegate screen again; it goes on where it was stopped",
            )


def _attributes(jobs: list[tuple[Path, Manifest]], where: str | None) -> dict[str, Any]:
    manifest = asdict(jobs[0][1]) | {"start": jobs[0][1].start, "stop": jobs[-1][1].stop}
    manifest["shard"] = {"number": 1, "count": 1}
    found = {
        "schema_version": SCHEMA_VERSION,
        "manifest": json.dumps(manifest, sort_keys=True, ensure_ascii=False),
        "structures": jobs[-1][1].stop - jobs[0][1].start,
    }
    return found if where is None else found | {"where": where}
