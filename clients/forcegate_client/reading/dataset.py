"""Datasets of ``forcegate_client.dataset``, read in slices, without a loop over structures."""

from __future__ import annotations

import h5py
import numpy as np

from forcegate_client.dataset.schema import POSITION_STEPS_PER_ANGSTROM, SCHEMA_VERSION
from forcegate_client.reading.chunk import Chunk
from forcegate_client.reading.errors import InputUnreadable
from forcegate_client.reading.inputs import Input
from forcegate_client.reading.record import Origin, Record
from forcegate_client.reading.source import Source
from forcegate_client.structures import StructureBatch

__all__ = ["DatasetFile"]

# Holds the compressed blocks of all arrays that two slices in a row may share.
_CACHE_BYTES = 8 * 1024**2


class DatasetFile(Source):
    """One file.

    Raises:
        InputUnreadable: if it is no dataset of a known version of the schema.
    """

    format = "forcegate dataset"

    def __init__(self, file: Input) -> None:
        self.name = file.name
        self._path = file.path
        self._opened: h5py.File | None = None
        try:
            stored = self._file
            version = stored.attrs.get("schema_version")
            if version != SCHEMA_VERSION:
                raise KeyError(f"schema version {version}")
            self._offsets = stored["offsets"][()]
            self._charge = stored["molecules/charge"][()]
            self._multiplicity = stored["molecules/multiplicity"][()]
        except (OSError, KeyError, RuntimeError) as error:
            raise InputUnreadable(
                f"{file.name} ({error})",
                expected=f"a dataset of forcegate, schema version {SCHEMA_VERSION}",
                action="write it with forcegate_client.dataset, or convert it to extxyz",
            ) from error
        self.size = len(self._offsets) - 1

    def chunk(self, start: int, stop: int) -> Chunk:
        """Frames ``start`` to ``stop``."""
        first, last = int(self._offsets[start]), int(self._offsets[stop])
        file = self._file
        molecule = file["molecule_id"][start:stop]
        batch = StructureBatch.from_arrays(
            n_atoms=np.diff(self._offsets[start : stop + 1]),
            atomic_numbers=file["atomic_numbers"][first:last],
            positions=file["positions"][first:last] / POSITION_STEPS_PER_ANGSTROM,
            cells=file["cells"][start:stop],
            pbc=file["pbc"][start:stop],
            charges=self._charge[molecule],
            multiplicities=self._multiplicity[molecule],
        )
        origins = [Origin(self.name, index) for index in range(start, stop)]
        free = np.zeros(batch.positions.shape, dtype=np.bool_)
        return Chunk(start, stop, origins, np.arange(start, stop), batch, {}, free, {})

    def read(self, start: int, stop: int) -> list[Record]:
        """The same, an object each."""
        chunk = self.chunk(start, stop)
        frames = chunk.structures.to_atoms()
        return [Record(o, atoms) for o, atoms in zip(chunk.origins, frames, strict=True)]

    def close(self) -> None:
        """Close the file."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def _file(self) -> h5py.File:
        if self._opened is None:
            self._opened = h5py.File(self._path, "r", rdcc_nbytes=_CACHE_BYTES)
        return self._opened
