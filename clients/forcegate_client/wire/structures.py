"""Structures as buffers: the columns of every request that holds some, written and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from forcegate_client.errors import PayloadTooLarge, UnprocessableRequest
from forcegate_client.structures import StructureBatch
from forcegate_client.wire.fields import buffer, require_fields, wrong_type

__all__ = ["COLUMNS", "decode_structures", "encode_structures"]

COLUMNS = (
    *("n_atoms", "atomic_numbers", "positions", "cells", "pbc", "charges", "multiplicities"),
)
"""The buffers; ``ids`` stand beside them."""


def encode_structures(batch: StructureBatch, ids: Sequence[str] | None) -> dict[str, Any]:
    """The map of ``batch``; what all structures have by default is left out.

    Raises:
        UnprocessableRequest: if a number does not fit its place.
    """
    structures: dict[str, Any] = {
        "n_atoms": batch.n_atoms.astype("<i4").tobytes(),
        "atomic_numbers": _as_bytes(batch.atomic_numbers),
        "positions": batch.positions.astype("<f8").tobytes(),
    }
    # For small arrays, several times as fast as any().
    if np.count_nonzero(batch.cells):
        structures["cells"] = batch.cells.astype("<f8").tobytes()
    if np.count_nonzero(batch.pbc):
        structures["pbc"] = batch.pbc.astype("u1").tobytes()
    if np.count_nonzero(batch.charges):
        structures["charges"] = _as_int32(batch.charges, "charge")
    if np.count_nonzero(batch.multiplicities != 1):
        structures["multiplicities"] = _as_int32(batch.multiplicities, "multiplicity")
    if ids is not None:
        structures["ids"] = list(ids)
    return structures


def decode_structures(
    message: Any, max_structures: int | None, max_atoms: int | None
) -> tuple[StructureBatch, tuple[str, ...] | None]:
    """The structures in a map, and their ids if they have some; nothing in it is trusted.

    Raises:
        UnprocessableRequest: if a column is missing, of the wrong type or of the wrong length.
        PayloadTooLarge: if there are more structures or atoms than the limits allow.
    """
    if not isinstance(message, dict):
        raise wrong_type("structures", message, "a map")
    require_fields(message, ("n_atoms", "atomic_numbers", "positions"))
    return _batch(message, max_structures, max_atoms), _ids(
        message.get("ids"), len(message["n_atoms"]) // 4
    )


def _batch(
    message: Mapping[str, Any], max_structures: int | None, max_atoms: int | None
) -> StructureBatch:
    n_atoms = buffer(message, "n_atoms", "<i4").astype(np.int64)
    # Before anything is made of that size.
    _check_limit(len(n_atoms), max_structures, "structures")
    # Of the few numbers of a single molecule a list is looked through sooner than an array.
    counts = n_atoms.tolist()
    if counts and min(counts) < 0:
        raise UnprocessableRequest(
            f"n_atoms contains {min(counts)}",
            expected="counts ≥ 0",
            action="correct n_atoms",
            code="shape_mismatch",
        )
    size, total = len(counts), sum(counts)
    _check_limit(total, max_atoms, "atoms")
    optional: dict[str, npt.NDArray[Any]] = {}
    for name, dtype, width in (
        ("cells", "<f8", 9),
        ("pbc", "u1", 3),
        ("charges", "<i4", 1),
        ("multiplicities", "<i4", 1),
    ):
        if message.get(name) is not None:
            optional[name] = buffer(message, name, dtype, rows=size * width)
    if "cells" in optional:
        optional["cells"] = optional["cells"].reshape(size, 3, 3)
    if "pbc" in optional:
        optional["pbc"] = optional["pbc"].reshape(size, 3) != 0
    atomic_numbers = buffer(message, "atomic_numbers", "u1", rows=total)
    positions = buffer(message, "positions", "<f8", rows=total * 3).reshape(total, 3)
    if not optional:
        # All lengths are known to be right.
        return StructureBatch.open_neutral(n_atoms, atomic_numbers.astype(np.int64), positions)
    return StructureBatch.from_arrays(
        n_atoms=n_atoms, atomic_numbers=atomic_numbers, positions=positions, **optional
    )


def _as_bytes(atomic_numbers: npt.NDArray[np.int64]) -> bytes:
    """One byte each; what does not fit would come out as another element."""
    # All bits of all numbers together: cheaper than the smallest and the largest.
    if not 0 <= int(np.bitwise_or.reduce(atomic_numbers)) <= 255:
        wrong = atomic_numbers[(atomic_numbers < 0) | (atomic_numbers > 255)][0]
        raise UnprocessableRequest(
            f"atomic number {wrong}",
            expected="atomic numbers between 1 and 118",
            action="correct the structure",
            code="element_unsupported",
        )
    return atomic_numbers.astype("u1").tobytes()


def _as_int32(values: npt.NDArray[np.int64], what: str) -> bytes:
    """Four bytes each; what does not fit would come out as another number."""
    narrow = values.astype("<i4")
    if np.count_nonzero(narrow != values):
        raise UnprocessableRequest(
            f"{what} {values[narrow != values][0]}",
            expected="a number of 32 bits",
            action="correct the structure",
            code=f"{what}_unsupported",
        )
    return narrow.tobytes()


def _check_limit(received: int, limit: int | None, what: str) -> None:
    if limit is not None and received > limit:
        raise PayloadTooLarge(
            f"{received} {what}",
            expected=f"at most {limit} in one request",
            action="split the request into smaller ones",
            code=f"too_many_{what}",
        )


def _ids(value: Any, size: int) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong_type("ids", value, "a list of strings")
    if len(value) != size:
        raise UnprocessableRequest(
            f"{len(value)} ids for {size} structures",
            expected="one id for each structure",
            action="correct ids or leave them out",
            code="shape_mismatch",
        )
    return tuple(value)
