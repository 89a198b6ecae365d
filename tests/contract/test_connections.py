"""Sockets that say nothing keep nobody out."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.raw_http import Peer, post_head

LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
METRICS = LIVE.replace(b"/health/live", b"/metrics")
LIMIT = 20


@contextmanager
def serving(repository: Path, **options: int) -> Iterator[str]:
    settings = Settings(model_repository=repository, runtime="fake", **options)  # type: ignore[arg-type]
    with running_gateway(settings) as url:
        yield url


def metric(url: str, name: str) -> float:
    with Peer(url) as peer:
        text = peer.send(METRICS).answer().body.decode()
    return sum(float(row.rpartition(" ")[2]) for row in text.splitlines() if row.startswith(name))


@pytest.mark.parametrize("addresses", [1, 30])
@pytest.mark.parametrize("said", [b"", b"GET /hea", LIVE])
def test_idle_connections_give_way_to_new_ones(
    repository: Path, addresses: int, said: bytes
) -> None:
    with serving(repository, max_connections=LIMIT) as url, ExitStack() as stack:
        idle = []
        for number in range(3 * LIMIT):
            source = f"127.0.1.{number % addresses + 1}"
            idle.append(stack.enter_context(Peer(url, source=source)).send(said))
            if said == LIVE:
                assert idle[-1].answer().status == 200
            with Peer(url) as newcomer:
                assert newcomer.send(LIVE).answer().status == 200
        # Those that were idle for longest had to go.
        assert [peer.is_gone() for peer in (idle[0], idle[-1])] == [True, False]
        limit = "total" if addresses > 1 else "address"
        assert metric(url, f'forcegate_connections_evicted_total{{limit="{limit}"}}') >= LIMIT
        assert metric(url, "forcegate_connections ") <= LIMIT


@pytest.mark.parametrize("addresses", [1, LIMIT])
def test_where_nobody_is_idle_a_new_one_is_told_so(repository: Path, addresses: int) -> None:
    with serving(repository, max_connections=LIMIT) as url, ExitStack() as stack:
        busy = []
        # One address gets three quarters of all.
        for number in range(LIMIT if addresses > 1 else 3 * LIMIT // 4):
            source = f"127.0.1.{number % addresses + 1}"
            busy.append(stack.enter_context(Peer(url, source=source)))
            # The server waits for the body.
            busy[-1].send(post_head(1000) + b"{").send(b" ")
        with Peer(url, source="127.0.1.1") as probe:
            refused = probe.answer()
            assert probe.at_end()
        assert (refused.status, json.loads(refused.body)["code"]) == (503, "too_many_connections")
        assert refused.headers["retry-after"] == "1"
        if addresses == 1:
            # Another address still gets in.
            with Peer(url) as other:
                assert other.send(LIVE).answer().status == 200
        busy[0].send(b" " * 997 + b"}").answer()
        busy[0].close()
        assert metric(url, "forcegate_connections_refused_total") >= 1


def test_the_limit_of_files_is_raised_and_what_it_does_not_allow_is_said(repository: Path) -> None:
    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, 600))

    command = [sys.executable, "-c", "from forcegate_service.cli import main; main()"]
    command += ["--runtime", "fake", "--port", "0", "--model-repository", str(repository)]
    server = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limits,
    )
    assert server.stdout is not None
    assert server.stderr is not None
    try:
        url = server.stdout.readline().strip().rpartition(" ")[2]
        text = Path(f"/proc/{server.pid}/limits").read_text()
        (row,) = (row for row in text.splitlines() if row.startswith("Max open files"))
        assert row.split()[3] == "600"
        with ExitStack() as stack:
            for _ in range(700):
                stack.enter_context(Peer(url))
            with Peer(url) as newcomer:
                assert newcomer.send(LIVE).answer().status == 200
    finally:
        server.terminate()
        said = server.communicate()[1]
    assert server.returncode == 0
    assert "at most 344 connections instead of 8192" in said
    assert "as many connections as there may be" in said
