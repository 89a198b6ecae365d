"""JSON bodies that nobody vouches for: bounded before anything is made of them.

No kept library bounds what a document may hold before it builds it: orjson has no limits, msgspec
compares the length of a JSON list once the list is made, and both refuse the ``NaN`` that many
writers emit. So what a document can hold is counted in its bytes, which makes nothing, and the
standard library reads it, because it alone tells of a field that is given twice.
"""

from __future__ import annotations

import json
import reprlib
from dataclasses import dataclass
from typing import Any

from forcegate_client.errors import MalformedBody, PayloadTooLarge, UnprocessableRequest

__all__ = ["JSONBounds", "read_object", "shown"]

# More than any object of ours has: the first that is unknown is told, not all of them.
_MOST_FIELDS = 32
# Python refuses to read longer integers, and no double is as large.
_MOST_DIGITS = 300

_shortened = reprlib.Repr()
_shortened.maxstring = _shortened.maxother = _shortened.maxlong = 80


@dataclass(frozen=True)
class JSONBounds:
    """How much a document may hold: ``objects``, ``lists``, ``values`` (commas), ``strings``.

    Those inside strings are counted too, so there must be some room.
    """

    objects: int
    lists: int
    values: int
    strings: int

    def check(self, body: bytes) -> None:
        """Compare the bytes of a document with the bounds.

        Raises:
            PayloadTooLarge: naming what there is too much of.
        """
        objects = body.count(b"{")
        for count, limit, what in (
            (objects, self.objects, "objects"),
            (body.count(b"["), self.lists, "lists"),
            (body.count(b","), self.values, "values"),
            (body.count(b'"') // 2, self.strings, "strings"),
            (body.count(b":"), _MOST_FIELDS * (min(objects, self.objects) + 1), "fields"),
        ):
            if count > limit:
                raise PayloadTooLarge(
                    f"a document of about {count} {what}",
                    expected=f"at most {limit}, which is more than the largest request needs",
                    action="split the request, and compare its fields with the documented ones",
                    code="too_many_values",
                )


def read_object(body: bytes, bounds: JSONBounds) -> dict[str, Any]:
    """The JSON object in ``body``. ``NaN``, ``Infinity`` and ``1e400`` are floats that are no
    finite numbers.

    Raises:
        PayloadTooLarge: if it holds more than ``bounds`` allow; nothing was built then.
        MalformedBody: if it is anything else than one JSON object in UTF-8.
        UnprocessableRequest: if an object has a field twice, or dozens of fields.
    """
    bounds.check(body)
    try:
        found = _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise _malformed(f"bytes that are not UTF-8 at {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise _malformed(str(error)) from None
    if not isinstance(found, dict):
        raise _malformed(f"a JSON {type(found).__name__}: {shown(found)}")
    return found


def shown(value: object) -> str:
    """A few words of ``value``, which may be large and deep."""
    return _shortened.repr(value)[:80]


def _malformed(received: str) -> MalformedBody:
    return MalformedBody(
        received,
        expected="one JSON object, in UTF-8",
        action='send for instance {"model": "default", "structures": [{"symbols": ["He"], '
        '"positions": [[0, 0, 0]]}]}; GET /docs shows every field',
    )


def _is_text(name: str) -> bool:
    """Whether it could be written in UTF-8: an escape may name one half of a pair."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MOST_FIELDS:
        raise UnprocessableRequest(
            f"an object of {len(pairs)} fields, {shown(pairs[0][0])} among them",
            expected="the documented fields",
            action="leave the others out; GET /docs shows every field",
            code="field_unknown",
        )
    fields = dict(pairs)
    if (half := next((name for name in fields if not _is_text(name)), None)) is not None:
        raise UnprocessableRequest(
            f"a field named {shown(half)}, with half of a character",
            expected="the documented fields",
            action="leave it out; GET /docs shows every field",
            code="field_unknown",
        )
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnprocessableRequest(
            f"the field {shown(twice)} twice in one object",
            expected="each field once",
            action="leave one of them out",
            code="field_repeated",
        )
    return fields


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _MOST_DIGITS else float(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_fields, parse_int=_integer)
