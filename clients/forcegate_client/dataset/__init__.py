"""Datasets of molecular frames: one HDF5 file, flat arrays (needs the ``[data]`` extra)."""

from forcegate_client.dataset.errors import (
    DatasetCorruptError,
    DatasetError,
    DatasetMismatchError,
    DatasetNotFoundError,
    DatasetNotWrittenError,
)
from forcegate_client.dataset.frames import (
    Dataset,
    Frame,
    Labels,
    concatenate,
    from_frames,
    with_labels,
    without_labels,
)
from forcegate_client.dataset.molecules import MoleculeTable
from forcegate_client.dataset.schema import NOT_THERMAL, Flag, Source, Split, TeacherRecord
from forcegate_client.dataset.store import append_dataset, load_dataset, write_dataset

__all__ = [
    "NOT_THERMAL",
    "Dataset",
    "DatasetCorruptError",
    "DatasetError",
    "DatasetMismatchError",
    "DatasetNotFoundError",
    "DatasetNotWrittenError",
    "Flag",
    "Frame",
    "Labels",
    "MoleculeTable",
    "Source",
    "Split",
    "TeacherRecord",
    "append_dataset",
    "concatenate",
    "from_frames",
    "load_dataset",
    "with_labels",
    "without_labels",
    "write_dataset",
]
