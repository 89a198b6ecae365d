"""The binary form of ``POST /v1/predict``: columnar msgpack, one implementation for both sides.

A message is a msgpack map. Arrays travel as flat little-endian buffers (``bin``), whose lengths
follow from ``n_atoms``, so that neither side loops over structures. ``schema`` is an integer; how
fields may be added is written down in ``docs/wire-format.md``.

=====================  =======================  ==================================================
structures             buffer                   meaning
=====================  =======================  ==================================================
``n_atoms``            ``<i4`` [B]
``atomic_numbers``     ``u1`` [N]
``positions``          ``<f8`` [N, 3]           Å
``cells``              ``<f8`` [B, 3, 3]        Å; left out when no structure has a cell
``pbc``                ``u1`` [B, 3]            0 or 1; left out when all structures are open
``charges``            ``<i4`` [B]              e; left out when all are 0
``multiplicities``     ``<i4`` [B]              left out when all are 1
``ids``                list of str, or left out
=====================  =======================  ==================================================

=====================  =======================  ==================================================
results                buffer                   meaning
=====================  =======================  ==================================================
``index``              ``<i4`` [K]              the structures that were computed, ascending
``n_atoms``            ``<i4`` [K]
``energy``             ``<f8`` [K]              eV
``forces``             ``<f8`` [ΣN, 3]          eV/Å
``stress``             ``<f8`` [K, 6]           eV/Å³, Voigt
``energy_uncertainty`` ``<f8`` [K]              eV
``max_novelty``        ``<f8`` [K]
``problems``           map                      index as str → problem document of what failed
``warnings``           map                      index as str → list of str
=====================  =======================  ==================================================

A property that was not asked for is left out; a structure that failed has no row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgpack
import numpy as np
import numpy.typing as npt

from forcegate_client.errors import (
    ForcegateError,
    MalformedBody,
    PayloadTooLarge,
    UnprocessableRequest,
)
from forcegate_client.messages import (
    UNITS,
    OnError,
    Predictions,
    PredictRequest,
    PredictResponse,
)
from forcegate_client.structures import StructureBatch

__all__ = [
    "MEDIA_TYPE",
    "SCHEMA",
    "decode_request",
    "decode_response",
    "encode_request",
    "encode_response",
]

MEDIA_TYPE = "application/msgpack"
SCHEMA = 1

Float = npt.NDArray[np.float64]

_REQUEST_FIELDS = {"schema", "model", "version", "properties", "on_error", "structures"}
_STRUCTURE_FIELDS = {
    "n_atoms",
    "atomic_numbers",
    "positions",
    "cells",
    "pbc",
    "charges",
    "multiplicities",
    "ids",
}
_RESULT_COLUMNS = {"energy": 1, "stress": 6, "energy_uncertainty": 1, "max_novelty": 1}
# Made once: for each buffer, numpy would read the name twice.
_DTYPES = {name: np.dtype(name) for name in ("<i4", "<f8", "u1")}


def encode_request(request: PredictRequest) -> bytes:
    """The msgpack body of ``request``."""
    batch = request.structures
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
        structures["charges"] = batch.charges.astype("<i4").tobytes()
    if np.count_nonzero(batch.multiplicities != 1):
        structures["multiplicities"] = batch.multiplicities.astype("<i4").tobytes()
    if request.ids is not None:
        structures["ids"] = list(request.ids)
    message: dict[str, Any] = {
        "schema": SCHEMA,
        "model": request.model,
        "properties": list(request.properties),
        "on_error": request.on_error,
        "structures": structures,
    }
    if request.version is not None:
        message["version"] = request.version
    return cast(bytes, msgpack.packb(message))


def decode_request(
    body: bytes, *, max_structures: int | None = None, max_atoms: int | None = None
) -> PredictRequest:
    """Read a request; nothing in it is trusted.

    Raises:
        MalformedBody: if the body is not a msgpack map.
        UnprocessableRequest: if fields are missing, unknown, of the wrong type or length.
        PayloadTooLarge: if there are more structures or atoms than the limits allow.
    """
    message = _unpack(body)
    _check_fields(message, _REQUEST_FIELDS, required={"schema", "model", "structures"})
    if message["schema"] != SCHEMA:
        raise UnprocessableRequest(
            f"schema {message['schema']!r}",
            expected=f"schema {SCHEMA}",
            action="use a client of the server's version",
            code="schema_unsupported",
        )
    structures = message["structures"]
    if not isinstance(structures, dict):
        raise _wrong_type("structures", structures, "a map")
    _check_fields(
        structures, _STRUCTURE_FIELDS, required={"n_atoms", "atomic_numbers", "positions"}
    )
    return PredictRequest(
        structures=_decode_structures(structures, max_structures, max_atoms),
        model=_text(message, "model"),
        version=None if message.get("version") is None else _text(message, "version"),
        properties=_properties(message.get("properties", ["energy", "forces"])),
        on_error=_on_error(message.get("on_error", "raise")),
        ids=_ids(structures.get("ids"), len(structures["n_atoms"]) // 4),
    )


def encode_response(response: PredictResponse) -> bytes:
    """The msgpack body of ``response``."""
    predictions = response.predictions
    results: dict[str, Any] = {
        "index": predictions.index.astype("<i4").tobytes(),
        "n_atoms": predictions.n_atoms.astype("<i4").tobytes(),
        "problems": {str(index): problem for index, problem in predictions.problems.items()},
        "warnings": {str(index): texts for index, texts in predictions.warnings.items()},
    }
    for name in (*_RESULT_COLUMNS, "forces"):
        values = getattr(predictions, name)
        if values is not None:
            results[name] = values.astype("<f8").tobytes()
    message = {
        "schema": SCHEMA,
        "model": response.model,
        "version": response.version,
        "digest": response.digest,
        "units": UNITS,
        "status": response.status,
        "timing": response.timing,
        "results": results,
    }
    return cast(bytes, msgpack.packb(message))


def decode_response(body: bytes) -> PredictResponse:
    """Read a server's answer. Unknown fields are ignored: a newer server may add some.

    Raises:
        MalformedBody: if the body is not a response of a schema that this client knows.
        UnprocessableRequest: if a buffer has the wrong length.
    """
    message = _unpack(body)
    if message.get("schema") != SCHEMA or not isinstance(message.get("results"), dict):
        raise MalformedBody(
            f"a response with schema {message.get('schema')!r}",
            expected=f"a forcegate response with schema {SCHEMA}",
            action="check the URL and the server's version",
        )
    results = message["results"]
    index = _buffer(results, "index", "<i4").astype(np.int64)
    n_atoms = _buffer(results, "n_atoms", "<i4", rows=len(index)).astype(np.int64)
    columns: dict[str, Float] = {}
    for name, width in _RESULT_COLUMNS.items():
        if name in results:
            flat = _buffer(results, name, "<f8", rows=len(index) * width)
            columns[name] = flat.reshape(-1, width) if width > 1 else flat
    if "forces" in results:
        total = int(n_atoms.sum())
        columns["forces"] = _buffer(results, "forces", "<f8", rows=total * 3).reshape(-1, 3)
    return PredictResponse(
        model=_text(message, "model"),
        version=_text(message, "version"),
        digest=_text(message, "digest"),
        status=dict(message.get("status", {})),
        timing=dict(message.get("timing", {})),
        predictions=Predictions(
            index=index,
            n_atoms=n_atoms,
            problems={int(key): value for key, value in results.get("problems", {}).items()},
            warnings={int(key): value for key, value in results.get("warnings", {}).items()},
            **columns,
        ),
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


def _decode_structures(
    message: Mapping[str, Any], max_structures: int | None, max_atoms: int | None
) -> StructureBatch:
    n_atoms = _buffer(message, "n_atoms", "<i4").astype(np.int64)
    # Before anything is made of that size.
    _check_limit(len(n_atoms), max_structures, "structures")
    if np.count_nonzero(n_atoms < 0):
        raise UnprocessableRequest(
            f"n_atoms contains {int(n_atoms.min())}",
            expected="counts ≥ 0",
            action="correct n_atoms",
            code="shape_mismatch",
        )
    size, total = len(n_atoms), int(n_atoms.sum())
    _check_limit(total, max_atoms, "atoms")
    optional: dict[str, npt.NDArray[Any]] = {}
    for name, dtype, width in (
        ("cells", "<f8", 9),
        ("pbc", "u1", 3),
        ("charges", "<i4", 1),
        ("multiplicities", "<i4", 1),
    ):
        if message.get(name) is not None:
            optional[name] = _buffer(message, name, dtype, rows=size * width)
    if "cells" in optional:
        optional["cells"] = optional["cells"].reshape(size, 3, 3)
    if "pbc" in optional:
        optional["pbc"] = optional["pbc"].reshape(size, 3) != 0
    return StructureBatch.from_arrays(
        n_atoms=n_atoms,
        atomic_numbers=_buffer(message, "atomic_numbers", "u1", rows=total),
        positions=_buffer(message, "positions", "<f8", rows=total * 3).reshape(total, 3),
        **optional,
    )


def _check_limit(received: int, limit: int | None, what: str) -> None:
    if limit is not None and received > limit:
        raise PayloadTooLarge(
            f"{received} {what}",
            expected=f"at most {limit} in one request",
            action="split the request into smaller ones",
            code=f"too_many_{what}",
        )


def _unpack(body: bytes) -> dict[str, Any]:
    try:
        message = msgpack.unpackb(body, raw=False, strict_map_key=True)
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise MalformedBody(
            f"{len(body)} bytes that are not msgpack ({type(error).__name__}: {error})",
            expected="one complete msgpack map",
            action="send the body that the forcegate client makes, untruncated",
        ) from error
    if not isinstance(message, dict):
        raise MalformedBody(
            f"a msgpack {type(message).__name__}",
            expected="a msgpack map",
            action="see docs/wire-format.md for the fields",
        )
    return message


def _buffer(
    message: Mapping[str, Any], name: str, dtype: str, rows: int | None = None
) -> npt.NDArray[Any]:
    data = message.get(name)
    if not isinstance(data, bytes):
        raise _wrong_type(name, data, f"a binary buffer of {dtype} values")
    values = _DTYPES[dtype]
    width = values.itemsize
    if len(data) % width or (rows is not None and len(data) != rows * width):
        expected = f"a multiple of {width} bytes" if rows is None else f"{rows * width} bytes"
        raise UnprocessableRequest(
            f"{name} with {len(data)} bytes",
            expected=f"{expected} ({dtype})",
            action="make all buffers agree with n_atoms",
            code="shape_mismatch",
        )
    return np.frombuffer(data, dtype=values)


def _check_fields(message: Mapping[str, Any], known: set[str], required: set[str]) -> None:
    if required <= message.keys() <= known:
        return
    # Keys may be bytes, which do not sort among strings.
    unknown = sorted((key for key in message if key not in known), key=repr)
    if unknown:
        raise UnprocessableRequest(
            f"unknown field {repr(unknown[0])[:80]}",
            expected=f"only {', '.join(sorted(known))}",
            action="remove or rename the field",
            code="field_unknown",
        )
    missing = sorted(required - set(message))
    if missing:
        raise UnprocessableRequest(
            f"no field {missing[0]!r}",
            expected=f"the fields {', '.join(sorted(required))}",
            action="add the field",
            code="field_missing",
        )


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str):
        raise _wrong_type(name, value, "a string")
    return value


def _properties(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong_type("properties", value, "a list of strings")
    return tuple(value)


def _on_error(value: Any) -> OnError:
    if value not in ("raise", "partial"):
        raise UnprocessableRequest(
            f"on_error {value!r}", expected="'raise' or 'partial'", code="on_error_unknown"
        )
    return cast(OnError, value)


def _ids(value: Any, size: int) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong_type("ids", value, "a list of strings")
    if len(value) != size:
        raise UnprocessableRequest(
            f"{len(value)} ids for {size} structures",
            expected="one id for each structure",
            code="shape_mismatch",
        )
    return tuple(value)


def _wrong_type(name: str, value: Any, expected: str) -> ForcegateError:
    return UnprocessableRequest(
        f"{name} of type {type(value).__name__}",
        expected=expected,
        action="see docs/wire-format.md",
        code="type_mismatch",
    )
