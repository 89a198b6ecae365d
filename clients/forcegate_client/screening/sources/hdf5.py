"""Datasets of ``forcegate_client.dataset``, read in slices, without a loop over structures."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

from forcegate_client.dataset.schema import POSITION_STEPS_PER_ANGSTROM, SCHEMA_VERSION
from forcegate_client.screening.chunk import Chunk
from forcegate_client.screening.errors import InputUnreadable
from forcegate_client.structures import StructureBatch

__all__ = ["DatasetFile"]

# Holds the compressed blocks of all arrays that two slices in a row may share.
_CACHE_BYTES = 8 * 1024**2


class DatasetFile:
    """One open file.

    Raises:
        InputUnreadable: if it is no dataset of a known version of the schema.
    """

    format = "forcegate dataset"
    has_labels = False

    def __init__(self, path: Path) -> None:
        try:
            self._file = h5py.File(path, "r", rdcc_nbytes=_CACHE_BYTES)
            version = self._file.attrs.get("schema_version")
            if version != SCHEMA_VERSION:
                raise KeyError(f"schema version {version}")
            self._offsets = self._file["offsets"][()]
            self._charge = self._file["molecules/charge"][()]
            self._multiplicity = self._file["molecules/multiplicity"][()]
        except (OSError, KeyError, RuntimeError) as error:
            raise InputUnreadable(
                f"{path} ({error})",
                expected=f"a dataset of forcegate, schema version {SCHEMA_VERSION}",
                action="write it with forcegate_client.dataset, or convert it to extxyz",
            ) from error

    @property
    def size(self) -> int:
        """Number of frames."""
        return len(self._offsets) - 1

    def read(self, start: int, stop: int) -> Chunk:
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
        return Chunk(start, stop, np.arange(start, stop), batch)

    def __enter__(self) -> DatasetFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._file.close()
