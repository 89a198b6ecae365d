"""Requests, and variants of them with other headers, methods, paths, queries and bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from forcegate_client.wire import MEDIA_TYPE

__all__ = ["ELEMENTS", "JSON", "WITHOUT_BODY", "WITH_BODY", "Ask", "Variant", "elsewhere"]

JSON = "application/json"
# Those of the toy model.
ELEMENTS = (1, 6, 7, 8, 9, 16, 17)

STRANGE_HEADERS = {
    "accept": [
        JSON,
        MEDIA_TYPE,
        "*/*",
        "text/html",
        f"{JSON};q=0, */*",
        f"{JSON};q=nan",
        ";,",
        "²",
    ],
    "authorization": ["", "Bearer", "Bearer fg_", "Basic eDp5", "Bearer fg_a_" + "c" * 500, "²"],
    "content-encoding": ["gzip", "identity", ""],
    "content-length": ["0", "-1", "+5", "1e3", "²", "9" * 20, "9" * 5000],
    "content-type": [JSON, MEDIA_TYPE, f"{JSON}; charset=utf-16", "", "a/b", f"{JSON}, a/b", "²"],
    "cookie": ["a=b", "=;=;" * 500],
    "host": ["", "[", "a b", "x" * 5000],
    "if-none-match": ["*"],
    "range": ["bytes=0-0", "bytes=5-1"],
    "x-request-id": ["run-7.a", "a b", "x" * 65, "fg_secret", "²"],
    # None so short that it could pass.
    "x-request-timeout": ["600", "1e9", "1e999", "-1", "nan", "0x10", "1_0_0", "", "soon", "²"],
}
QUERIES = ["version=1", "version=1&version=%FF", "=&=&;", "a[b]=1", "x=" + "y" * 5000]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FETCH"]
ENDINGS = ["", "/", "//", "%00", "%2F..", "%0A", "%E2%80%AE", ";x", "/" + "x" * 3000]
SPLICES = [b"NaN", b"1e999", b"-0", b"[" * 300, b"{}", b"null", b"\\u0000", b'"', b"\xff", b"\xc1"]


@dataclass(frozen=True)
class Ask:
    """One request; ``target`` is path and query."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


def with_other_headers(ask: Ask, dice: random.Random) -> Ask:
    names = dice.sample(sorted(STRANGE_HEADERS), dice.randint(1, 3))
    return replace(ask, headers=ask.headers | {n: dice.choice(STRANGE_HEADERS[n]) for n in names})


def with_a_query(ask: Ask, dice: random.Random) -> Ask:
    return replace(ask, target=ask.target.partition("?")[0] + "?" + dice.choice(QUERIES))


def elsewhere(ask: Ask, dice: random.Random) -> Ask:
    """Another method or path, of which the document says nothing."""
    path, mark, query = ask.target.partition("?")
    target = path + dice.choice(ENDINGS) + mark + query
    return replace(ask, method=dice.choice(METHODS), target=target)


def with_other_bytes(ask: Ask, dice: random.Random) -> Ask:
    """Bytes lost, changed, repeated or put in, at one to four places."""
    body = bytearray(ask.body)
    for _ in range(dice.randint(1, 4)):
        start = dice.randint(0, len(body))
        end = start + dice.randint(0, 8)
        piece = bytes(body[start:end])
        body[start:end] = dice.choice([b"", dice.randbytes(8), piece * 3, dice.choice(SPLICES)])
    return replace(ask, body=bytes(body))


def cut_short(ask: Ask, dice: random.Random) -> Ask:
    return replace(ask, body=ask.body[: dice.randint(0, len(ask.body))])


def made_sensible(ask: Ask, dice: random.Random) -> Ask:
    """A prediction of what was drawn, with atoms of known elements in rows: it can be computed."""
    try:
        message = json.loads(ask.body)
        message |= {"model": "fake", "version": None, "properties": ["energy", "forces"]}
        for structure in message["structures"]:
            size = dice.randint(1, 6)
            structure["atomic_numbers"] = dice.choices(ELEMENTS, k=size)
            structure["positions"] = [[0, 0, 1.5 * row] for row in range(size)]
            for name in ("cell", "pbc", "charge", "multiplicity"):
                structure.pop(name, None)
    except (ValueError, TypeError, KeyError, AttributeError):
        # It was drawn to be unreadable.
        return with_other_bytes(ask, dice)
    return replace(ask, body=json.dumps(message).encode())


Variant = Callable[[Ask, random.Random], Ask]
WITHOUT_BODY: list[Variant] = [with_other_headers, with_a_query, elsewhere]
WITH_BODY: list[Variant] = [
    *(with_other_headers, elsewhere),
    *(with_other_bytes, cut_short, made_sensible, made_sensible),
]
