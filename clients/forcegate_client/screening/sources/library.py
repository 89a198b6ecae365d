"""One or several files as one row of structures, and what identifies them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from forcegate_client.screening.chunk import Chunk
from forcegate_client.screening.errors import InputUnreadable, PackageMissing
from forcegate_client.screening.sources.base import Source
from forcegate_client.screening.sources.records import (
    RecordFile,
    line_records,
    sdf_records,
    xyz_records,
)
from forcegate_client.structures import StructureBatch

__all__ = ["Library", "is_dataset", "open_library", "open_source"]


class Library:
    """Several sources, numbered through."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        self._bounds = np.cumsum([0, *(source.size for source in self._sources)]).tolist()

    @property
    def size(self) -> int:
        """How many structures there are."""
        return int(self._bounds[-1])

    @property
    def has_labels(self) -> bool:
        """Whether any of them have names."""
        return any(source.has_labels for source in self._sources)

    def describe(self) -> list[dict[str, Any]]:
        """Format and number of structures of each file."""
        return [{"format": s.format, "structures": s.size} for s in self._sources]

    def read(self, start: int, stop: int) -> Chunk:
        """Structures ``start`` to ``stop``."""
        parts = []
        for source, begin in zip(self._sources, self._bounds, strict=False):
            first, last = max(start, begin), min(stop, begin + source.size)
            if first < last:
                parts.append(_moved(source.read(first - begin, last - begin), begin))
        labels = None
        if self.has_labels:
            labels = [text for part in parts for text in part.labels or [""] * len(part.index)]
        return Chunk(
            start,
            stop,
            np.concatenate([part.index for part in parts]),
            StructureBatch.concatenate([part.structures for part in parts]),
            labels,
            [failure for part in parts for failure in part.failures],
        )


def open_library(paths: Sequence[Path]) -> Library:
    """All structures of ``paths``, in order.

    Raises:
        InputUnreadable: if a file is missing, empty, or nothing in it is a structure.
        PackageMissing: if a format needs one.
    """
    return Library([open_source(path) for path in paths])


def open_source(path: Path) -> Source:
    """The structures of one file; the format follows from the end of its name."""
    if not path.is_file():
        raise InputUnreadable(
            f"no file {path}", expected="files of structures", action="check the path"
        )
    source = _OPEN.get(path.suffix.lower(), _ase)(path)
    if not source.size:
        raise InputUnreadable(
            f"{path} holds no structure",
            expected=f"at least one, as {source.format}",
            action="check the file and the end of its name",
        )
    return source


def is_dataset(path: Path) -> bool:
    """Whether it is read without a loop over structures."""
    return path.suffix.lower() in _DATASETS


def _moved(chunk: Chunk, by: int) -> Chunk:
    return replace(
        chunk,
        start=chunk.start + by,
        stop=chunk.stop + by,
        index=chunk.index + by,
        failures=[replace(failure, index=failure.index + by) for failure in chunk.failures],
    )


def _xyz(path: Path) -> Source:
    from forcegate_client.screening.sources.xyz import parse_frame

    return RecordFile(path, "xyz", xyz_records(path), parse_frame)


def _sdf(path: Path) -> Source:
    _require("rdkit", "chem", "SDF files")
    from forcegate_client.screening.sources.chemistry import parse_mol_block

    return RecordFile(path, "sdf", sdf_records(path), parse_mol_block, has_labels=True)


def _smiles(path: Path) -> Source:
    _require("rdkit", "chem", "SMILES")
    from forcegate_client.screening.sources.chemistry import EMBEDDING, parse_smiles

    return RecordFile(
        path, f"smiles ({EMBEDDING})", line_records(path), parse_smiles, has_labels=True
    )


def _dataset(path: Path) -> Source:
    from forcegate_client.screening.sources.hdf5 import DatasetFile

    return DatasetFile(path)


def _ase(path: Path) -> Source:
    from forcegate_client.screening.sources.any_format import AseFile

    return AseFile(path)


def _require(package: str, extra: str, what: str) -> None:
    if find_spec(package) is None:
        raise PackageMissing(
            f"{what} without the package {package}",
            expected=f"an installation with the [{extra}] extra",
            action=f"pip install 'forcegate-client[{extra}]'",
        )


_DATASETS = (".h5", ".hdf5")
_OPEN: dict[str, Callable[[Path], Source]] = {
    ".xyz": _xyz,
    ".extxyz": _xyz,
    ".sdf": _sdf,
    ".sd": _sdf,
    ".smi": _smiles,
    ".smiles": _smiles,
    **dict.fromkeys(_DATASETS, _dataset),
}
