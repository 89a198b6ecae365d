"""Fields of messages that nobody vouches for: read as what they must be, or refused in words."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from forcegate_client.errors import ForcegateError, MalformedBody, UnprocessableRequest

__all__ = [
    "buffer",
    "by_index",
    "map_field",
    "require_fields",
    "shown",
    "text_field",
    "unpack",
    "wrong_response",
    "wrong_type",
]

# Made once: for each buffer, numpy would read the name twice.
_DTYPES = {name: np.dtype(name) for name in ("<i4", "<i8", "<f8", "u1")}


def unpack(body: bytes) -> dict[str, Any]:
    """The msgpack map in ``body``.

    Raises:
        MalformedBody: if it is anything else.
    """
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


def require_fields(message: Mapping[str, Any], required: Sequence[str]) -> None:
    """Raise unless ``message`` has all fields of ``required``.

    Raises:
        UnprocessableRequest: naming the first that is missing.
    """
    for name in required:
        if name not in message:
            raise UnprocessableRequest(
                f"no field {name!r}",
                expected=f"the fields {', '.join(sorted(required))}",
                action="add the field",
                code="field_missing",
            )


def buffer(
    message: Mapping[str, Any], name: str, dtype: str, rows: int | None = None
) -> npt.NDArray[Any]:
    """The values in field ``name``, read-only; exactly ``rows`` of them if that is given.

    Raises:
        UnprocessableRequest: if the field is no binary buffer of such a length.
    """
    data = message.get(name)
    if not isinstance(data, bytes):
        raise wrong_type(name, data, f"a binary buffer of {dtype} values")
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


def text_field(message: Mapping[str, Any], name: str) -> str:
    """The text in field ``name``.

    Raises:
        UnprocessableRequest: if it is no string.
    """
    value = message.get(name)
    if not isinstance(value, str):
        raise wrong_type(name, value, "a string")
    return value


def map_field(message: Mapping[str, Any], name: str, *types: type) -> dict[str, Any]:
    """The map in field ``name`` of a response, with values of ``types``; empty if it is missing.

    Raises:
        MalformedBody: if it is anything else.
    """
    value = message.get(name, {})
    if not isinstance(value, dict) or not all(
        isinstance(key, str) and isinstance(item, types) for key, item in value.items()
    ):
        raise wrong_response(name, "a map")
    return value


def by_index(results: Mapping[str, Any], name: str, kind: type) -> dict[int, Any]:
    """The map in field ``name`` of a response, keyed by the index of a structure.

    Raises:
        MalformedBody: if it is anything else.
    """
    return {_index(name, key): value for key, value in map_field(results, name, kind).items()}


def _index(name: str, key: str) -> int:
    if not (key.isascii() and key.isdecimal() and len(key) < 10):
        raise wrong_response(f"{name} of {shown(key)}", "the index of a structure")
    return int(key)


def shown(value: Any) -> str:
    """A few words of ``value``, which may be large and deep."""
    return reprlib.repr(value)


def wrong_type(name: str, value: Any, expected: str) -> ForcegateError:
    """The error for a field of a request that has another type than documented."""
    return UnprocessableRequest(
        f"{name} of type {type(value).__name__}",
        expected=expected,
        action="see docs/wire-format.md",
        code="type_mismatch",
    )


def wrong_response(name: str, expected: str) -> MalformedBody:
    """The error for a part of a response that cannot be read."""
    return MalformedBody(
        f"a response with {name} that cannot be read",
        expected=expected,
        action="check the URL and the server's version",
    )
