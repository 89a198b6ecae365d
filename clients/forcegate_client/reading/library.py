"""One or several files as one row of structures, and what identifies them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from forcegate_client.errors import ForcegateError
from forcegate_client.extras import needing
from forcegate_client.reading.chunk import Chunk, joined
from forcegate_client.reading.errors import InputUnreadable
from forcegate_client.reading.inputs import Input, as_inputs
from forcegate_client.reading.record import Record
from forcegate_client.reading.source import Source
from forcegate_client.reading.unreadable import UnreadableFile

__all__ = ["Library", "open_library"]


class Library:
    """Several sources, numbered through."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        self._bounds = np.cumsum([0, *(source.size for source in self._sources)]).tolist()

    @property
    def size(self) -> int:
        """How many structures there are, readable or not."""
        return int(self._bounds[-1])

    def __len__(self) -> int:
        return self.size

    def describe(self) -> list[dict[str, Any]]:
        """Format and number of structures of each file."""
        return [{"format": s.format, "structures": s.size} for s in self._sources]

    def read(self, start: int, stop: int) -> list[Record]:
        """Records ``start`` to ``stop``."""
        return [
            record
            for source, begin, first, last in self._parts(start, stop)
            for record in source.read(first - begin, last - begin)
        ]

    def chunk(self, start: int, stop: int) -> Chunk:
        """The same as arrays."""
        parts = [
            (begin, source.chunk(first - begin, last - begin))
            for source, begin, first, last in self._parts(start, stop)
        ]
        return joined(start, stop, parts)

    def close(self) -> None:
        """Close all files; they are opened again when they are needed."""
        for source in self._sources:
            source.close()

    def _parts(self, start: int, stop: int) -> Iterator[tuple[Source, int, int, int]]:
        first_source = int(np.searchsorted(self._bounds, start, side="right")) - 1
        for source, begin in zip(
            self._sources[first_source:], self._bounds[first_source:-1], strict=True
        ):
            if begin >= stop:
                return
            end = begin + source.size
            yield source, begin, max(start, begin), min(stop, end)
            # Of thousands of files, few are open at a time.
            if end <= stop:
                source.close()


def open_library(inputs: Sequence[str | Path | Input]) -> Library:
    """All structures of ``inputs``, in order.

    Of several files one that cannot be read is one record with a problem.

    Raises:
        InputUnreadable: if a file is missing, or there is no structure in any of them.
        PackageMissing: if a format needs one.
    """
    files = as_inputs(inputs)
    sources: list[Source] = []
    for file in files:
        try:
            sources.append(_opened(file))
        except InputUnreadable as error:
            if len(files) == 1:
                raise
            sources.append(UnreadableFile(file.name, error))
    unreadable = [source for source in sources if isinstance(source, UnreadableFile)]
    if len(unreadable) == len(sources):
        raise unreadable[0].error
    return Library(sources)


def _opened(file: Input) -> Source:
    try:
        source = _OPEN[file.format.partition(":")[0]](file)
    except ForcegateError:
        raise
    except Exception as error:
        # What looks for records in a file of anything may meet anything.
        raise InputUnreadable(
            f"{file.name} ({type(error).__name__}: {error})",
            expected=f"a file of the format {file.format}",
            action="check the file and the end of its name, or tell --format",
        ) from error
    if not source.size:
        raise InputUnreadable(
            f"{file.name} holds no structure",
            expected=f"at least one, as {source.format}",
            action="check the file and the end of its name, or tell --format",
        )
    return source


def _xyz(file: Input) -> Source:
    from forcegate_client.reading.indexed import RecordFile
    from forcegate_client.reading.xyz import parse_frame, xyz_records

    return RecordFile(file, "xyz", xyz_records, parse_frame)


def _sdf(file: Input) -> Source:
    from forcegate_client.reading.indexed import RecordFile, sdf_records

    with needing("chem", "SDF and MOL files"):
        from forcegate_client.reading.molfile import parse_mol_block

    return RecordFile(file, "sdf", sdf_records, parse_mol_block)


def _mol2(file: Input) -> Source:
    from forcegate_client.reading.indexed import RecordFile

    with needing("chem", "mol2 files"):
        from forcegate_client.reading.molfile import mol2_records, parse_mol2

    return RecordFile(file, "mol2", mol2_records, parse_mol2)


def _smiles(file: Input) -> Source:
    from forcegate_client.reading.indexed import RecordFile

    with needing("chem", "SMILES"):
        from forcegate_client.reading.embedding import EMBEDDING
        from forcegate_client.reading.smiles import parse_line, smiles_lines

    return RecordFile(file, f"smiles ({EMBEDDING})", smiles_lines, parse_line, threads=_cores())


def _table(file: Input) -> Source:
    from forcegate_client.reading.indexed import RecordFile

    with needing("chem", "SMILES"):
        from forcegate_client.reading.embedding import EMBEDDING
        from forcegate_client.reading.smiles import Table

    table = Table(file.name)
    return RecordFile(
        file, f"table of smiles ({EMBEDDING})", table.records, table.parse, threads=_cores()
    )


def _pdb(file: Input) -> Source:
    from forcegate_client.reading.indexed import RecordFile
    from forcegate_client.reading.pdb import PdbModels

    models = PdbModels()
    return RecordFile(file, "pdb", models.records, models.parse)


def _cif(file: Input) -> Source:
    from forcegate_client.reading.crystals import cif_records, parse_cif_block
    from forcegate_client.reading.indexed import RecordFile

    return RecordFile(file, "cif", cif_records, parse_cif_block)


def _dataset(file: Input) -> Source:
    with needing("data", "HDF5"):
        from forcegate_client.reading.dataset import DatasetFile

    return DatasetFile(file)


def _ase(file: Input) -> Source:
    from forcegate_client.reading.ase_formats import AseFile

    return AseFile(file)


def _cores() -> int:
    """As many as this process may use: coordinates are made on all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_OPEN: dict[str, Callable[[Input], Source]] = {
    "xyz": _xyz,
    "sdf": _sdf,
    "mol2": _mol2,
    "smi": _smiles,
    "csv": _table,
    "pdb": _pdb,
    "cif": _cif,
    "h5": _dataset,
    "ase": _ase,
}
