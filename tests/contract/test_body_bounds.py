"""Bodies that are as long as they may be, of every kind of container: little is made of them.

They go to a server in a process of its own: what that process grows by is read from the system, and
how late its event loop is is told by another caller, who asks all the while whether it lives.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from forcegate_client.wire import MEDIA_TYPE
from forcegate_service.runtimes.fake import write_fake_model
from support.server_process import footprint, started

JSON = "application/json"
MIB = 1024 * 1024
# The longest JSON body that is read, see docs/settings.md; msgpack may be longer, and is the same
# reader for every length.
LONGEST = 16 * MIB
MOST_GROWTH = 10
# What a request with as many atoms as are allowed may take, be it written in ever so few bytes.
ALWAYS_ALLOWED = 40 * MIB
LATE_S = 0.25
# Somebody else may be busy on this machine: the best of so many is the server's own.
ATTEMPTS = 4

HEAD = b'{"model": "fake", "structures": ['
WATER = b'{"symbols": ["O", "H", "H"], "positions": [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]}'


def filled(before: bytes, unit: bytes, after: bytes) -> Callable[[int], bytes]:
    """A body that is ``unit`` over and over, between ``before`` and ``after``."""

    def body(length: int) -> bytes:
        times = (length - len(before) - len(after)) // len(unit)
        return before + unit * times + after

    return body


def fields(length: int) -> bytes:
    """An object of as many fields as there is room for, none of them known."""
    names = b",".join(b'"%07d":0' % k for k in range(length // 12))
    return b"{" + names + b"}"


def packed(name: bytes, unit: bytes, width: int = 1) -> Callable[[int], bytes]:
    """A msgpack map whose field ``name`` is a list of as many ``unit`` as there is room for.

    Each is declared as ``width`` elements.
    """

    def body(length: int) -> bytes:
        head = b"\x81" + bytes([0xA0 | len(name)]) + name
        times = (length - len(head) - 5) // len(unit)
        return head + b"\xdd" + (times * width).to_bytes(4, "big") + unit * times

    return body


def in_structures(body: Callable[[int], bytes]) -> Callable[[int], bytes]:
    return lambda length: b"\x81\xaastructures" + body(length - 12)


BODIES: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "properties that are numbers": (JSON, filled(b'{"properties":[0', b",0", b"]}")),
    "properties without end": (JSON, filled(b'{"properties":["a"', b',"energy"', b"]}")),
    "empty structures": (JSON, filled(HEAD + b"{}", b",{}", b"]}")),
    "structures that are lists": (JSON, filled(HEAD + b"[]", b",[]", b"]}")),
    "structures": (JSON, filled(HEAD + WATER, b"," + WATER, b"]}")),
    "one structure without end": (
        JSON,
        filled(HEAD + b'{"atomic_numbers":[1],"positions":[[0,0,0]', b",[1,2,3]", b"]}]}"),
    ),
    "atomic numbers without end": (
        JSON,
        filled(HEAD + b'{"positions":[],"atomic_numbers":[1', b",999", b"]}]}"),
    ),
    "symbols without end": (JSON, filled(HEAD + b'{"symbols":["H"', b',"Cl"', b"]}]}")),
    "lists in lists": (JSON, filled(b'{"structures":', b"[", b"")),
    "objects in objects": (JSON, filled(b"", b'{"structures":', b"")),
    "unknown fields": (JSON, fields),
    "one field over and over": (JSON, filled(b'{"model":"a"', b',"model":"a"', b"}")),
    "one number": (JSON, filled(b'{"version":', b"7", b"}")),
    "one text": (JSON, filled(b'{"model":"', b"x", b'"}')),
    "one text of wide characters": (JSON, filled(b'{"model":"', "🜁".encode(), b'"}')),
    "one text of escapes": (JSON, filled(b'{"model":"', rb"\u0000", b'"}')),
    "spaces": (JSON, filled(b"{", b" ", b"}")),
    "packed properties": (MEDIA_TYPE, packed(b"properties", b"\xa1a")),
    "packed empty lists": (MEDIA_TYPE, packed(b"properties", b"\x90")),
    "packed empty maps": (MEDIA_TYPE, packed(b"properties", b"\x80")),
    "packed lists in lists": (MEDIA_TYPE, packed(b"structures", b"\x91")),
    "packed lists that lie": (MEDIA_TYPE, packed(b"properties", b"\xdd\x03\xff\xff\xff")),
    "packed ids": (MEDIA_TYPE, in_structures(packed(b"ids", b"\xa0"))),
    "packed ids that are lists": (MEDIA_TYPE, in_structures(packed(b"ids", b"\x91\x90"))),
    "packed unknown maps": (MEDIA_TYPE, packed(b"surplus", b"\x81\xa0\x90")),
    "one packed buffer": (MEDIA_TYPE, lambda n: b"\x81\xa5model\xc6%s" % _buffer(n - 12)),
}


def _buffer(length: int) -> bytes:
    return length.to_bytes(4, "big") + bytes(length)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    repository = tmp_path_factory.mktemp("models")
    write_fake_model(repository)
    with started(repository) as (process, url):
        # Whatever is made once is made by now.
        for form, body in ((JSON, HEAD + WATER + b"]}"), (JSON, b" " * MIB)):
            _post(url, form, body)
        yield process, url


@pytest.mark.parametrize("name", BODIES)
def test_a_body_at_its_limit_costs_little_memory_and_nobody_else_waits(
    name: str, server: tuple[int, str]
) -> None:
    form, make = BODIES[name]
    for length in (LONGEST, MIB):
        body = make(length)
        assert length - 100 < len(body) <= length
        _send(server, form, body)


def _send(server: tuple[int, str], form: str, body: bytes) -> None:
    process, url = server
    allowed = max(MOST_GROWTH * len(body), ALWAYS_ALLOWED)
    lateness = []
    for _ in range(ATTEMPTS):
        before = _peak_from_now(process)
        with Onlooker(url) as onlooker:
            status, problem = _post(url, form, body)
        growth = _peak(process) - before
        assert 400 <= status < 500
        assert len(json.dumps(problem)) < 2000
        assert growth < allowed, f"{growth / len(body):.1f} times the body"
        lateness.append(onlooker.longest_s)
        if lateness[-1] < LATE_S:
            return
    pytest.fail(f"others waited for {min(lateness):.2f} s at least")


class Onlooker:
    """Asks a server over and over whether it lives; ``longest_s``: the longest answer so far."""

    def __init__(self, url: str) -> None:
        self.longest_s = 0.0
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Onlooker:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        parts = urlsplit(self._url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port)
        while not self._over.is_set():
            started_at = time.perf_counter()
            connection.request("GET", "/health/live")
            assert connection.getresponse().read()
            self.longest_s = max(self.longest_s, time.perf_counter() - started_at)
            time.sleep(0.005)
        connection.close()


def _post(url: str, form: str, body: bytes) -> tuple[int, object]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port)
    connection.request("POST", "/v1/predict", body, {"Content-Type": form})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content)


def _peak_from_now(process: int) -> int:
    """Forget the peak; what the process holds now, in bytes."""
    Path(f"/proc/{process}/clear_refs").write_text("5")
    return footprint(process).resident


def _peak(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the system tells no peak")
