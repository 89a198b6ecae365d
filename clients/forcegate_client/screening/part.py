"""The results of some structures in a row, in a file that is complete and verified or not there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from forcegate_client.reading.chunk import Chunk
from forcegate_client.reading.record import Problem
from forcegate_client.remarks import Judge
from forcegate_client.screening.tasks import TRANSIENT_STATUSES, Computed
from forcegate_client.writing.atomic import write_atomically
from forcegate_client.writing.files import unwritable

__all__ = ["Failure", "Part", "part_of", "read_part", "string_array", "write_part"]

Int = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

NAMES = ("label", "smiles")
PER_ATOM = ("positions", "forces")
TEXT = h5py.string_dtype()


@dataclass(frozen=True)
class Failure:
    """Why structure ``index`` of the input has no result; ``transient`` ones are tried again.

    ``label`` and ``smiles`` are those of the input; both are empty without one.
    """

    index: int
    code: str
    detail: str
    transient: bool = False
    label: str = ""
    smiles: str = ""


@dataclass(frozen=True)
class Part:
    """Structures ``start`` to ``stop``: each has a row or a failure.

    ``columns`` hold ``index`` [K], ascending, and what the task gave [K]; ``per_atom`` holds
    ``positions`` and ``forces`` [ΣN, 3] of the same rows, if the task keeps them.
    """

    start: int
    stop: int
    columns: Mapping[str, Array]
    per_atom: Mapping[str, Array] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    warnings: tuple[tuple[int, str], ...] = ()

    @property
    def index(self) -> Int:
        """Which structures have a row."""
        return self.columns["index"]

    @property
    def to_repeat(self) -> Int:
        """The structures whose failure may have passed."""
        return np.array([f.index for f in self.failures if f.transient], dtype=np.int64)

    @property
    def is_whole(self) -> bool:
        """Whether each structure is there, once."""
        known = [failure.index for failure in self.failures]
        found = np.sort(np.concatenate([self.index, np.array(known, dtype=np.int64)]))
        return np.array_equal(found, np.arange(self.start, self.stop))

    def completed_by(self, later: Part) -> Part:
        """With the rows and failures of ``later`` in place of what had failed for a while."""
        again = set(self.to_repeat.tolist())
        order = np.argsort(np.concatenate([self.index, later.index]), kind="stable")
        columns = {
            name: np.concatenate([values, later.columns[name]])[order]
            for name, values in self.columns.items()
        }
        counts = np.concatenate([self.columns["n_atoms"], later.columns["n_atoms"]])
        atoms = _atoms_in_order(counts, order)
        return Part(
            self.start,
            self.stop,
            columns,
            {
                name: np.concatenate([values, later.per_atom[name]])[atoms]
                for name, values in self.per_atom.items()
            },
            tuple(
                sorted(
                    (*(f for f in self.failures if f.index not in again), *later.failures),
                    key=lambda failure: failure.index,
                )
            ),
            tuple(sorted((*self.warnings, *later.warnings))),
        )


def part_of(chunk: Chunk, computed: Computed, judge: Judge | None = None) -> Part:
    """What becomes of a chunk once its structures are computed, with what ``judge`` says of it."""
    columns: dict[str, Array] = {"index": chunk.index[computed.index], **computed.columns}
    origins = [chunk.origin(index) for index in columns["index"].tolist()]
    for name in NAMES:
        columns[name] = string_array(getattr(origin, name) for origin in origins)
    per_atom = {name: getattr(computed, name) for name in PER_ATOM}
    unread = [_failure(chunk, index, problem) for index, problem in chunk.problems.items()]
    failures = [
        _failure(chunk, int(chunk.index[row]), Problem.of(p), p.get("status"))
        for row, p in computed.problems.items()
    ]
    warnings = [
        (int(chunk.index[row]), text) for row, texts in computed.warnings.items() for text in texts
    ]
    warnings += [
        (index, origin.remark)
        for index, origin in zip(columns["index"].tolist(), origins, strict=True)
        if origin.remark
    ]
    if judge is not None:
        periodic = np.any(chunk.structures.pbc[computed.index], axis=1).tolist()
        charged = (chunk.structures.charges[computed.index] != 0).tolist()
        novelty = columns["max_novelty"].tolist() if "max_novelty" in columns else None
        for row, index in enumerate(columns["index"].tolist()):
            known = None if novelty is None else novelty[row]
            remarks = judge.remarks(periodic=periodic[row], charged=charged[row], novelty=known)
            warnings += [(index, text) for text in remarks]
    return Part(
        chunk.start,
        chunk.stop,
        columns,
        {name: values for name, values in per_atom.items() if values is not None},
        tuple(sorted((*unread, *failures), key=lambda failure: failure.index)),
        tuple(sorted(warnings)),
    )


def write_part(path: Path, part: Part, fingerprint: str) -> None:
    """Put it on disk; when this returns, it survives anything but the disk's loss.

    Raises:
        OutputUnwritable: if there is no room for it.
    """
    columns = _stored(part)
    # In memory: HDF5 ends the process where a disk is full.
    image = BytesIO()
    with h5py.File(image, "w") as file:
        for name, values in columns.items():
            file.create_dataset(name, data=values)
        file.attrs["start"], file.attrs["stop"] = part.start, part.stop
        file.attrs["job"] = fingerprint
        file.attrs["sha256"] = _checksum(columns)
    try:
        write_atomically(path, image.getvalue())
    except OSError as error:
        raise unwritable(path, error) from error


def read_part(path: Path, fingerprint: str) -> Part | None:
    """A part of this very job; None if it is damaged or of another."""
    try:
        with h5py.File(path, "r") as file:
            columns = {name: _loaded(file[name]) for name in _names(file)}
            attributes = dict(file.attrs)
    except (OSError, KeyError, RuntimeError):
        return None
    if attributes.get("job") != fingerprint or attributes.get("sha256") != _checksum(columns):
        return None
    part = _restored(int(attributes["start"]), int(attributes["stop"]), columns)
    return part if part.is_whole else None


def string_array(texts: Iterable[str]) -> Array:
    """Texts [K] as HDF5 stores them."""
    # HDF5 ends its texts at the first zero byte, and h5py takes no lone surrogates.
    clean = (text.replace("\0", "�").encode("utf-8", "replace").decode() for text in texts)
    return np.array(list(clean), dtype=TEXT)


def _stored(part: Part) -> dict[str, Array]:
    return {
        **{f"rows/{name}": values for name, values in part.columns.items()},
        **{f"atoms/{name}": values for name, values in part.per_atom.items()},
        "failures/index": np.array([f.index for f in part.failures], dtype=np.int64),
        "failures/code": string_array(f.code for f in part.failures),
        "failures/detail": string_array(f.detail for f in part.failures),
        "failures/transient": np.array([f.transient for f in part.failures], dtype=np.bool_),
        "failures/label": string_array(f.label for f in part.failures),
        "failures/smiles": string_array(f.smiles for f in part.failures),
        "warnings/index": np.array([index for index, _ in part.warnings], dtype=np.int64),
        "warnings/text": string_array(text for _, text in part.warnings),
    }


def _restored(start: int, stop: int, columns: Mapping[str, Array]) -> Part:
    def group(prefix: str) -> dict[str, Array]:
        return {n.removeprefix(prefix): v for n, v in columns.items() if n.startswith(prefix)}

    rows, failed, warned = group("rows/"), group("failures/"), group("warnings/")
    # Parts of an earlier release know of no names.
    for columns_of, size in ((rows, len(rows["index"])), (failed, len(failed["index"]))):
        for name in NAMES:
            columns_of.setdefault(name, string_array([""] * size))
    names = ("index", "code", "detail", "transient", *NAMES)
    failures = zip(*(failed[name].tolist() for name in names), strict=True)
    return Part(
        start,
        stop,
        rows,
        group("atoms/"),
        tuple(Failure(*row) for row in failures),
        tuple(zip(warned["index"].tolist(), warned["text"].tolist(), strict=True)),
    )


def _failure(chunk: Chunk, index: int, problem: Problem, status: Any = None) -> Failure:
    origin = chunk.origin(index)
    placed = problem.at(origin)
    transient = status in TRANSIENT_STATUSES
    return Failure(index, placed.code, placed.detail, transient, origin.label, origin.smiles)


def _atoms_in_order(counts: Int, order: Int) -> Int:
    starts, lengths = (np.cumsum(counts) - counts)[order], counts[order]
    before = np.cumsum(lengths) - lengths
    atoms: Int = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
    return atoms


def _names(file: h5py.File) -> list[str]:
    return [f"{group}/{name}" for group in file for name in file[group]]


def _loaded(stored: h5py.Dataset) -> Array:
    if h5py.check_string_dtype(stored.dtype) is not None:
        return np.array(stored.asstr()[()], dtype=TEXT)
    return stored[()]  # type: ignore[no-any-return]


def _checksum(columns: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name in sorted(columns):
        values = columns[name]
        digest.update(f"|{name}|{values.shape}|".encode())
        if values.dtype == object:
            digest.update("\0".join(values.tolist()).encode("utf-8", "replace"))
        else:
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
