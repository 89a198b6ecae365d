"""A server in a process of its own, and what that process holds."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = ["Footprint", "connections_possible", "footprint", "open_files", "settled", "started"]

_COMMAND = [sys.executable, "-c", "from forcegate_service.cli import main; main()"]
_LISTENING = "forcegate is listening on "


class Footprint(NamedTuple):
    """What a process holds; ``resident`` in bytes."""

    files: int
    threads: int
    resident: int


def open_files(process: int) -> int:
    """How many it has now."""
    return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())


def footprint(process: int) -> Footprint:
    """What it holds now."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines()
    )
    resident = int(fields["VmRSS"].split()[0]) * 1024
    return Footprint(open_files(process), int(fields["Threads"]), resident)


@contextmanager
def started(
    repository: Path, file_size: int | None = None, **settings: object
) -> Iterator[tuple[int, str]]:
    """Process and URL of a server as its users start it, over the toy model.

    No file that it writes may have more than ``file_size`` bytes; ``settings`` as ``Settings``
    names them.
    """
    command = [*_COMMAND, "--runtime", "fake", "--port", "0", "--log-level", "error"]
    server = subprocess.Popen(
        [*command, "--model-repository", str(repository)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {f"FORCEGATE_{k.upper()}": str(v) for k, v in settings.items()},
    )
    if file_size is not None:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (file_size, file_size))
    assert server.stdout is not None
    try:
        line = server.stdout.readline().strip()
        assert line.startswith(_LISTENING)
        yield server.pid, line.removeprefix(_LISTENING)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def connections_possible(connections: int) -> int:
    """As many connections as this process and its children may have, at most ``connections``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 200
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft != resource.RLIM_INFINITY and soft < wanted:
        print(f"{soft - 200} connections instead of {connections}: the hard limit is {hard} files")
        return soft - 200
    return connections


def settled(process: int) -> Footprint:
    """Its footprint once connections that have just ended are closed on its side too."""
    files = -1
    while files != (files := open_files(process)):
        time.sleep(0.5)
    return footprint(process)
