"""What identifies a dataset: the checksum of each of its arrays, and of all of them together."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forcegate_client.dataset.schema import TeacherRecord

# Arrays by their names in the file, with the types that they are stored in.
Columns = dict[str, NDArray[Any]]


def checksum(name: str, values: NDArray[Any]) -> str:
    """SHA-256 (hex) of one array with its name, type and shape."""
    header = f"{name}|{values.dtype.str}|{values.shape}|".encode()
    return hashlib.sha256(header + np.ascontiguousarray(values).tobytes()).hexdigest()


def combined_hash(columns: Columns, teacher: TeacherRecord | None) -> str:
    """SHA-256 (hex) of all arrays, whatever their order, and of who labelled them."""
    lines = [f"{name} {checksum(name, columns[name])}" for name in sorted(columns)]
    lines.append("unlabelled" if teacher is None else teacher.to_json())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
