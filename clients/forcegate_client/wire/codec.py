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
``charges``            ``<f8`` [ΣN]             e
``net_charge``         ``<f8`` [K]              e
``dipole``             ``<f8`` [K, 3]           e·Å, about the centre of mass
``force_uncertainty``  ``<f8`` [ΣN]             eV/Å
``problems``           map                      index as str → problem document of what failed
``warnings``           map                      index as str → list of str
=====================  =======================  ==================================================

A property that was not asked for is left out; a structure that failed has no row.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import msgpack
import numpy as np
import numpy.typing as npt

from forcegate_client.errors import (
    MalformedBody,
    UnprocessableRequest,
)
from forcegate_client.messages import (
    PER_ATOM,
    PER_STRUCTURE,
    OnError,
    Predictions,
    PredictRequest,
    PredictResponse,
    units_with,
)
from forcegate_client.wire.bounded_map import Fields, read_map
from forcegate_client.wire.fields import (
    buffer,
    by_index,
    map_field,
    require_fields,
    shown,
    text_field,
    unpack,
    wrong_response,
    wrong_type,
)
from forcegate_client.wire.structures import COLUMNS, decode_structures, encode_structures

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

_PREDICTED = (*PER_STRUCTURE, *PER_ATOM)
# More than there are properties: whoever repeats them may.
_MOST_PROPERTIES = 1000


def encode_request(request: PredictRequest) -> bytes:
    """The msgpack body of ``request``."""
    message: dict[str, Any] = {
        "schema": SCHEMA,
        "model": request.model,
        "properties": list(request.properties),
        "on_error": request.on_error,
        "structures": encode_structures(request.structures, request.ids),
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
        UnprocessableRequest: if fields are missing, unknown, repeated, of the wrong type or length.
        PayloadTooLarge: if there are more structures or atoms than the limits allow.
    """
    # Each structure has eight bytes at least.
    longest = len(body) // 8 if max_structures is None else max_structures
    message = read_map(body, _request_fields(longest))
    require_fields(message, ("schema", "model", "structures"))
    if not _is_schema(message["schema"]):
        raise UnprocessableRequest(
            f"schema {shown(message['schema'])}",
            expected=f"schema {SCHEMA}",
            action="use a client of the server's version",
            code="schema_unsupported",
        )
    structures, ids = decode_structures(message["structures"], max_structures, max_atoms)
    return PredictRequest(
        structures=structures,
        model=text_field(message, "model"),
        version=None if message.get("version") is None else text_field(message, "version"),
        properties=_properties(message.get("properties", ["energy", "forces"])),
        on_error=_on_error(message.get("on_error", "raise")),
        ids=ids,
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
    for name in _PREDICTED:
        values = getattr(predictions, name)
        if values is not None:
            results[name] = values.astype("<f8", copy=False).tobytes()
    message = {
        "schema": SCHEMA,
        "model": response.model,
        "version": response.version,
        "digest": response.digest,
        "units": predictions.units,
        "status": response.status,
        "timing": response.timing,
        "results": results,
    }
    if response.card_digest:
        message["card_digest"] = response.card_digest
    return cast(bytes, msgpack.packb(message))


def decode_response(body: bytes) -> PredictResponse:
    """Read a server's answer. Unknown fields are ignored: a newer server may add some.

    Raises:
        MalformedBody: if the body is not a response of a schema that this client knows.
        UnprocessableRequest: if a buffer has the wrong length.
    """
    message = unpack(body)
    if not _is_schema(message.get("schema")) or not isinstance(message.get("results"), dict):
        raise MalformedBody(
            f"a response with schema {shown(message.get('schema'))}",
            expected=f"a forcegate response with schema {SCHEMA}",
            action="check the URL and the server's version",
        )
    results = message["results"]
    _check_units(message.get("units"), units_with(results))
    index = buffer(results, "index", "<i4").astype(np.int64)
    n_atoms = buffer(results, "n_atoms", "<i4", rows=len(index)).astype(np.int64)
    ascending = np.count_nonzero(index[1:] <= index[:-1]) == 0 and (not len(index) or index[0] >= 0)
    if not ascending or np.count_nonzero(n_atoms < 0):
        raise wrong_response("index or n_atoms", "indices that ascend from 0, and counts ≥ 0")
    columns: dict[str, Float] = {}
    for widths, rows in ((PER_STRUCTURE, len(index)), (PER_ATOM, int(n_atoms.sum()))):
        for name, width in widths.items():
            if name in results:
                flat = buffer(results, name, "<f8", rows=rows * width)
                columns[name] = flat.reshape(-1, width) if width > 1 else flat
    return PredictResponse(
        model=text_field(message, "model"),
        version=text_field(message, "version"),
        digest=text_field(message, "digest"),
        status=map_field(message, "status", str),
        timing=map_field(message, "timing", int, float),
        card_digest=text_field(message, "card_digest") if "card_digest" in message else "",
        predictions=Predictions(
            index=index,
            n_atoms=n_atoms,
            problems=by_index(results, "problems", dict),
            warnings=_warnings(results),
            **columns,
        ),
    )


@lru_cache(maxsize=4)
def _request_fields(max_structures: int) -> Fields:
    return {
        **dict.fromkeys(("schema", "model", "version", "on_error")),
        "properties": _MOST_PROPERTIES,
        "structures": {**dict.fromkeys(COLUMNS), "ids": max_structures},
    }


def _properties(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong_type("properties", value, "a list of strings")
    return tuple(value)


def _on_error(value: Any) -> OnError:
    if value not in ("raise", "partial"):
        raise UnprocessableRequest(
            f"on_error {shown(value)}",
            expected="'raise' or 'partial'",
            action="correct on_error or leave it out",
            code="on_error_unknown",
        )
    return cast(OnError, value)


def _is_schema(value: Any) -> bool:
    # True and 1.0 equal 1 and are no schema.
    return type(value) is int and value == SCHEMA


def _check_units(units: Any, wanted: dict[str, str]) -> None:
    """Numbers in other units are other numbers; a newer server may name more."""
    if units == wanted:
        return
    if not isinstance(units, dict) or any(units.get(name) != unit for name, unit in wanted.items()):
        raise wrong_response(
            f"units {shown(units)}", ", ".join(f"{name} in {unit}" for name, unit in wanted.items())
        )


def _warnings(results: Mapping[str, Any]) -> dict[int, list[str]]:
    warnings = by_index(results, "warnings", list)
    if not all(isinstance(text, str) for texts in warnings.values() for text in texts):
        raise wrong_response("warnings", "lists of strings")
    return warnings
