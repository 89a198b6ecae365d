"""What a file of the shadow spool holds: structures, and what a student said of them.

A msgpack map, columnar like the wire format: little-endian buffers, one after the other structure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from forcegate_client.errors import ForcegateError

__all__ = ["ShadowRecord", "ShadowStructure", "SpoolFileUnreadable", "decode", "encode"]

_SCHEMA = 1


class SpoolFileUnreadable(ForcegateError):
    """A file of the spool is damaged, or of another release."""

    default_code = "spool_file_unreadable"
    title = "The file of the spool cannot be read"


@dataclass(frozen=True, eq=False)
class ShadowStructure:
    """``positions`` [n, 3] in Å; the student's ``energy`` in eV and ``forces`` [n, 3] in eV/Å.

    ``caller`` is the id of the key with which it was sent.
    """

    id: str
    atomic_numbers: npt.NDArray[np.int64]
    positions: npt.NDArray[np.float64]
    energy: float
    forces: npt.NDArray[np.float64]
    caller: str = "unknown"


@dataclass(frozen=True, eq=False)
class ShadowRecord:
    """Structures that one version answered; ``teacher`` is what its card says of its teacher."""

    model: str
    version: str
    digest: str
    teacher: Mapping[str, Any]
    structures: Sequence[ShadowStructure]


def encode(record: ShadowRecord) -> bytes:
    """The content of a file."""
    structures = record.structures
    message = {
        "schema": _SCHEMA,
        "model": record.model,
        "version": record.version,
        "digest": record.digest,
        "teacher": dict(record.teacher),
        "ids": [s.id for s in structures],
        "callers": [s.caller for s in structures],
        "n_atoms": [len(s.atomic_numbers) for s in structures],
        "energies": [float(s.energy) for s in structures],
        "atomic_numbers": b"".join(_buffer(s.atomic_numbers, "<i8") for s in structures),
        "positions": b"".join(_buffer(s.positions, "<f8") for s in structures),
        "forces": b"".join(_buffer(s.forces, "<f8") for s in structures),
    }
    packed: bytes = msgpack.packb(message)
    return packed


def decode(content: bytes) -> ShadowRecord:
    """The inverse of ``encode``.

    Raises:
        SpoolFileUnreadable: if ``content`` is anything else.
    """
    try:
        message = msgpack.unpackb(content)
        if message["schema"] != _SCHEMA:
            raise ValueError(f"schema {message['schema']!r}")
        return ShadowRecord(
            model=str(message["model"]),
            version=str(message["version"]),
            digest=str(message["digest"]),
            teacher=dict(message["teacher"]),
            structures=_structures(message),
        )
    # What unpacking broken bytes raises is not one class.
    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
        raise SpoolFileUnreadable(
            f"a file of the spool that cannot be read ({error!r})",
            expected=f"a file of schema {_SCHEMA}, as the gateway writes them",
            action="let gateway and `forcegate-train shadow` be of one release",
        ) from error


def _structures(message: Mapping[str, Any]) -> list[ShadowStructure]:
    counts = [int(count) for count in message["n_atoms"]]
    total = sum(counts)
    numbers = np.frombuffer(message["atomic_numbers"], "<i8").astype(np.int64)
    positions = np.frombuffer(message["positions"], "<f8").astype(np.float64)
    forces = np.frombuffer(message["forces"], "<f8").astype(np.float64)
    if (len(numbers), len(positions), len(forces)) != (total, 3 * total, 3 * total):
        raise ValueError(f"buffers that do not hold {total} atoms")
    ends = np.cumsum(counts)
    where = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
    # Earlier releases did not say.
    callers = message.get("callers") or ["unknown"] * len(counts)
    rows = zip(message["ids"], where, message["energies"], callers, strict=True)
    return [
        ShadowStructure(
            id=str(identity),
            atomic_numbers=numbers[atoms],
            positions=positions.reshape(-1, 3)[atoms],
            energy=float(energy),
            forces=forces.reshape(-1, 3)[atoms],
            caller=str(caller),
        )
        for identity, atoms, energy, caller in rows
    ]


def _buffer(values: npt.NDArray[Any], dtype: str) -> bytes:
    return np.ascontiguousarray(values, dtype=dtype).tobytes()
