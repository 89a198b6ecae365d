"""The records of a run: msgpack behind its length, or lines of JSON; one way in, one way out.

A record is a map with its kind in ``record``. In msgpack, arrays are buffers of ``<f8`` and each
record stands behind its length in four bytes, little-endian; in JSON, arrays are lists and each
record is a line. Numbers are the same to the last bit in both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any, Final, Literal

import msgpack
import numpy as np

from forcegate_client.errors import ForcegateError, MalformedBody
from forcegate_client.runs import End, Frame, Progress, Record, RunHeader, RunSummary
from forcegate_client.wire.codec import SCHEMA
from forcegate_client.wire.fields import by_index, unpack, wrong_response

__all__ = ["JSON_LINES", "MOST_RECORD_BYTES", "RECORDS", "RecordReader", "StreamForm", "encode"]

StreamForm = Literal["application/x-forcegate-records", "application/x-ndjson"]
RECORDS: Final = "application/x-forcegate-records"
JSON_LINES: Final = "application/x-ndjson"
# A frame of a hundred thousand atoms with all its columns takes twelve.
MOST_RECORD_BYTES = 64 * 1024 * 1024

_LENGTH_BYTES = 4
_KINDS: Mapping[str, type[Record]] = {
    "header": RunHeader,
    "frame": Frame,
    "progress": Progress,
    "end": End,
    "summary": RunSummary,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
# Numbers of each atom.
_WIDTHS = {"positions": 3, "velocities": 3, "forces": 3, "charges": 1, "force_uncertainty": 1}


def encode(record: Record, form: StreamForm) -> bytes:
    """``record`` as it is sent; what is not known is left out."""
    message: dict[str, Any] = {"record": _NAMES[type(record)]}
    if isinstance(record, RunHeader):
        message["schema"] = SCHEMA
    for place in fields(record):
        value = getattr(record, place.name)
        if value is None:
            continue
        if place.name in _WIDTHS:
            flat = np.ascontiguousarray(value, dtype="<f8")
            value = flat.tobytes() if form == RECORDS else flat.tolist()
        elif place.name == "warnings" and isinstance(value, dict):
            value = {str(index): texts for index, texts in value.items()}
        message[place.name] = value
    if form == JSON_LINES:
        return json.dumps(message, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    body: bytes = msgpack.packb(message)
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


class RecordReader:
    """Takes what arrives, in whatever pieces, and gives the records that are whole."""

    def __init__(self, form: StreamForm, most_bytes: int = MOST_RECORD_BYTES) -> None:
        self._form, self._most = form, most_bytes
        self._begun = bytearray()

    def feed(self, data: bytes) -> Iterator[Record]:
        """The records that ``data`` completes; read them all before the next piece.

        Raises:
            MalformedBody: if it is no stream of records, or a record is longer than it may be.
        """
        self._begun += data
        while (body := self._next()) is not None:
            yield _decode(body, self._form)

    @property
    def within_record(self) -> bool:
        """Whether a record has begun and its end has not come."""
        return bool(self._begun)

    def _next(self) -> bytes | None:
        begun = self._begun
        if self._form == JSON_LINES:
            end = begun.find(b"\n")
            start, stop = 0, end if end >= 0 else len(begun)
        else:
            if len(begun) < _LENGTH_BYTES:
                return None
            start = _LENGTH_BYTES
            end = stop = start + int.from_bytes(begun[:start], "little")
        if stop - start > self._most:
            raise MalformedBody(
                f"a record of {stop - start} bytes or more",
                expected=f"at most {self._most}",
                action="check the URL and the server's version",
            )
        if end < 0 or len(begun) < end:
            return None
        body = bytes(begun[start:stop])
        del begun[: stop + (self._form == JSON_LINES)]
        return body


def _decode(body: bytes, form: StreamForm) -> Record:
    message = unpack(body) if form == RECORDS else _from_line(body)
    kind = _KINDS.get(str(message.get("record")))
    if kind is None:
        raise wrong_response("a record", f"one of {', '.join(_KINDS)}")
    schema = message.get("schema")
    if kind is RunHeader and (type(schema) is not int or schema != SCHEMA):
        raise wrong_response("schema", f"schema {SCHEMA}")
    found: dict[str, Any] = {}
    for place in fields(kind):
        name = place.name
        if name in message:
            found[name] = _READERS[name](message, name)
        elif place.default is MISSING and place.default_factory is MISSING:
            raise wrong_response(f"a {_NAMES[kind]} without {name}", "all fields of a record")
    if kind is Frame:
        atoms = len(found["positions"])
        if any(name in found and len(found[name]) != atoms for name in _WIDTHS):
            raise wrong_response("a frame", "as many rows of each column as it has positions")
    return kind(**found)


def _from_line(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise wrong_response("a line", "one JSON object a line") from error
    if not isinstance(message, dict):
        raise wrong_response("a line", "one JSON object a line")
    return message


def _array(message: Mapping[str, Any], name: str) -> Any:
    value = message[name]
    try:
        if isinstance(value, bytes):
            flat = np.frombuffer(value, dtype="<f8").astype(np.float64)
        else:
            flat = np.array(value, dtype=np.float64).reshape(-1)
        width = _WIDTHS[name]
        array = flat.reshape(-1, width) if width > 1 else flat
    except (TypeError, ValueError) as error:
        raise wrong_response(name, "numbers of each atom") from error
    if not np.isfinite(array).all():
        raise wrong_response(name, "finite numbers")
    return array


def _typed(*types: type) -> Callable[[Mapping[str, Any], str], Any]:
    def read(message: Mapping[str, Any], name: str) -> Any:
        value = message[name]
        # A bool is an int, and none of these numbers is one.
        if isinstance(value, bool) or not isinstance(value, types):
            raise _wrong(name, types)
        if isinstance(value, float) and not np.isfinite(value):
            raise _wrong(name, types)
        return value

    return read


def _count(message: Mapping[str, Any], name: str) -> int:
    value = message[name]
    if type(value) is not int or value < 0:
        raise wrong_response(name, "a whole number from 0 on")
    return value


def _number(message: Mapping[str, Any], name: str) -> float:
    return float(_typed(int, float)(message, name))


def _map_of(*types: type) -> Callable[[Mapping[str, Any], str], Any]:
    def read(message: Mapping[str, Any], name: str) -> Any:
        value = message[name]
        if not isinstance(value, dict) or not all(isinstance(v, types) for v in value.values()):
            raise wrong_response(name, "a map")
        return value

    return read


def _warnings(message: Mapping[str, Any], name: str) -> Any:
    value = message[name]
    told = by_index(message, name, list) if isinstance(value, dict) else {0: value}
    if not all(isinstance(texts, list) for texts in told.values()) or not all(
        isinstance(text, str) for texts in told.values() for text in texts
    ):
        raise wrong_response(name, "lists of strings")
    return told if isinstance(value, dict) else value


def _wrong(name: str, types: tuple[type, ...]) -> ForcegateError:
    return wrong_response(name, " or ".join(kind.__name__ for kind in types))


_READERS: Mapping[str, Callable[[Mapping[str, Any], str], Any]] = {
    **dict.fromkeys(_WIDTHS, _array),
    **dict.fromkeys(("structure", "step", "steps", "structures", "drift_blocks"), _count),
    **dict.fromkeys(
        (
            *("energy", "temperature_k", "max_novelty", "energy_uncertainty", "fmax"),
            *("drift_mev_per_atom_per_ps", "drift_standard_error_mev_per_atom_per_ps"),
            *("duration_ps", "mean_temperature_k", "seconds", "paused_s"),
            *("steps_per_s", "ns_per_day"),
        ),
        _number,
    ),
    **dict.fromkeys(
        ("task", "method", "model", "version", "digest", "card_digest", "reason"), _typed(str)
    ),
    "status": _map_of(str),
    "units": _map_of(str),
    "limits": _map_of(int, float),
    "problem": _map_of(object),
    "warnings": _warnings,
}
