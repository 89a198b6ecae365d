"""A gateway with its processes on the cores that they were given."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from forcegate_bench.load.http1 import Address
from forcegate_bench.machine import procfs
from forcegate_bench.machine.cores import Layout
from forcegate_bench.subjects.subject import Subject
from forcegate_service.machine import keeping_memory
from forcegate_trainer.demo.gateway import running_gateway

__all__ = ["RunningGateway", "metric", "start_gateway"]

_INFERENCE = "forcegate_service.runtimes.process"


class GatewayUnusable(Exception):
    """The gateway runs, but not as it has to for a measurement."""


@dataclass(frozen=True)
class RunningGateway:
    """Where it listens and what it consists of; the toy needs no inference process."""

    address: Address
    pid: int
    inference_pid: int | None

    @property
    def pids(self) -> dict[str, int]:
        """Its processes by their names."""
        found = {"gateway": self.pid}
        if self.inference_pid is not None:
            found["inference process"] = self.inference_pid
        return found

    def require_whole(self) -> None:
        """Raise if the inference process is not the one that was measured any more."""
        if self.inference_pid != _inference_process(self.pid):
            raise GatewayUnusable("the inference process was replaced while it was measured")


@contextmanager
def start_gateway(
    subject: Subject, layout: Layout, log: Path, settings: Mapping[str, str] | None = None
) -> Iterator[RunningGateway]:
    """Serve ``subject`` with one thread, ready; stopped when the block ends.

    ``settings`` are ``FORCEGATE_*`` variables beside those of the subject.

    Raises:
        GatewayFailedError: if it does not come up, or does not exit with code 0.
    """
    with ExitStack() as running:
        wanted = {"FORCEGATE_TORCH_THREADS": "1", **subject.settings, **(settings or {})}
        with _environment(wanted):
            known = procfs.children(os.getpid())
            url = running.enter_context(running_gateway(subject.repository, log))
            (pid,) = procfs.children(os.getpid()) - known
        # Now, so that its settings are those of a machine with all the cores that there are.
        procfs.pin(pid, layout.event_loop)
        inference = _inference_process(pid)
        if inference is not None:
            procfs.pin(inference, layout.inference)
        yield RunningGateway(Address.of(url), pid, inference)


def metric(address: Address, start: str) -> dict[str, float]:
    """The metrics whose lines begin with ``start``, by what stands before the value."""
    lines = httpx.get(f"{address.url}/metrics", timeout=30, trust_env=False).text.splitlines()
    pairs = (line.rpartition(" ") for line in lines if line.startswith(start))
    return {name: float(value) for name, _, value in pairs}


def _inference_process(pid: int) -> int | None:
    found = [child for child in procfs.children(pid) if _INFERENCE in procfs.command_line(child)]
    return found[0] if found else None


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """What is started in the block has these variables, and not the memory settings of this
    process: the gateway gives them to its inference process alone.
    """
    before = dict(os.environ)
    os.environ.update(wanted)
    for name in keeping_memory({}):
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
