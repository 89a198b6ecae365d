"""A msgpack map that nobody vouches for: read field by field, and no more made than is known.

A msgpack list of a byte an element would become a list of seventy bytes an element, and a head of
five bytes asks for room for four billion. Here a list or a map is made only in the field that holds
one, and only as long as it may be; everything else is a number, a text or a buffer, which are no
larger than their bytes.

A short body is read in one go first, because its length bounds what it can become. Whatever is odd
about it is found, and told, by the reader of fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgpack

from forcegate_client.errors import MalformedBody, PayloadTooLarge, UnprocessableRequest
from forcegate_client.wire.fields import shown

__all__ = ["Fields", "read_map"]

# What a map may hold: for each field None for a single value, a number for a list of at most so
# many of them, or the fields of a map within.
Fields: TypeAlias = "Mapping[str, int | Fields | None]"

_VALUE, _MAP, _LIST = range(3)
# What may become as large as it likes: seventy times that is little.
_SHORT_BYTES = 8192

# By the first byte of each.
_KINDS = bytes(
    _MAP
    if 0x80 <= byte <= 0x8F or byte in (0xDE, 0xDF)
    else _LIST
    if 0x90 <= byte <= 0x9F or byte in (0xDC, 0xDD)
    else _VALUE
    for byte in range(256)
)

_EXPECTED = "one complete msgpack map"
_ACTION = "send the body that the forcegate client makes, untruncated"


def read_map(body: bytes, fields: Fields) -> dict[str, Any]:
    """The msgpack map in ``body``, whose fields are among ``fields``.

    Raises:
        MalformedBody: if it is no msgpack map, or not only that.
        UnprocessableRequest: if a field is unknown, or there twice, or holds a list or a map where
            none belongs.
        PayloadTooLarge: if a list is too long.
    """
    if len(body) <= _SHORT_BYTES:
        message = _at_once(body, fields)
        if message is not None:
            return message
    unpacker = msgpack.Unpacker(
        max_buffer_size=max(len(body), 1),
        read_size=max(len(body), 1),
        raw=False,
        # Without containers there is no depth, and nothing grows.
        max_array_len=0,
        max_map_len=0,
    )
    unpacker.feed(body)
    try:
        if _kind(body, 0) != _MAP:
            raise ValueError(f"a msgpack {shown(unpacker.unpack())} and no map")
        message = _Reader(body, unpacker).map(fields)
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedBody(
            f"{len(body)} bytes that cannot be read ({type(error).__name__}: {error})",
            expected=_EXPECTED,
            action=_ACTION,
        ) from error
    surplus = len(body) - unpacker.tell()
    if surplus:
        raise MalformedBody(f"{surplus} bytes after the map", expected=_EXPECTED, action=_ACTION)
    return message


def _at_once(body: bytes, fields: Fields) -> dict[str, Any] | None:
    """The map in a short ``body``, or None if there is anything to be said against it."""
    try:
        message = msgpack.unpackb(body, object_pairs_hook=_of_pairs)
    except (ValueError, RecursionError, msgpack.UnpackException):
        return None
    return message if type(message) is dict and _fits(message, fields) else None


def _of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field that is there twice")
    return found


def _fits(message: dict[str, Any], fields: Fields) -> bool:
    """Whether all fields are known, and containers are where they belong."""
    for name, value in message.items():
        kind = type(value)
        if name not in fields:
            return False
        if kind is dict or kind is list:
            field = fields[name]
            if field is None or not (
                _fits(value, field)
                if isinstance(field, Mapping) and kind is dict
                else isinstance(field, int)
                and kind is list
                and len(value) <= field
                and not any(type(item) is dict or type(item) is list for item in value)
            ):
                return False
    return True


class _Reader:
    def __init__(self, body: bytes, unpacker: Any) -> None:
        self._body, self._unpacker = body, unpacker

    def map(self, fields: Fields) -> dict[str, Any]:
        message: dict[str, Any] = {}
        for _ in range(self._unpacker.read_map_header()):
            name = self._unpacker.unpack()
            if name not in fields:
                raise UnprocessableRequest(
                    f"unknown field {shown(name)[:80]}",
                    expected=f"only {', '.join(sorted(fields))}",
                    action="remove or rename the field",
                    code="field_unknown",
                )
            if name in message:
                raise UnprocessableRequest(
                    f"the field {name!r} twice in one map",
                    expected="each field once",
                    action="leave one of them out",
                    code="field_repeated",
                )
            message[name] = self._value(name, fields[name])
        return message

    def _value(self, name: str, field: int | Fields | None) -> Any:
        kind = _kind(self._body, self._unpacker.tell())
        if kind == _VALUE:
            return self._unpacker.unpack()
        if kind == _MAP:
            if isinstance(field, Mapping):
                return self.map(field)
            raise _container(name, "a map")
        if isinstance(field, int):
            return self._list(name, field)
        raise _container(name, "a list")

    def _list(self, name: str, longest: int) -> list[Any]:
        size = self._unpacker.read_array_header()
        if size > longest:
            raise PayloadTooLarge(
                f"{size} {name}",
                expected=f"at most {longest} in one request",
                action="split the request into smaller ones",
                code="too_many_values",
            )
        return [self._value(f"{name}[{index}]", None) for index in range(size)]


def _kind(body: bytes, at: int) -> int:
    """What begins at a byte; a message that ends there has no value, which its reader finds."""
    return _KINDS[body[at]] if at < len(body) else _VALUE


def _container(name: str, received: str) -> UnprocessableRequest:
    return UnprocessableRequest(
        f"{name} with {received} in it",
        expected="what docs/wire-format.md says of the field",
        action="correct the field",
        code="on_error_unknown" if name == "on_error" else "type_mismatch",
    )
