"""A real Triton server on a core of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forcegate_bench.machine.cores import on_core
from forcegate_bench.paths import ROOT

__all__ = ["TritonUnusable", "running_triton"]

_SCRIPT = ROOT / "deploy" / "triton" / "serve.py"
_START_TIMEOUT_S = 180.0
_STOP_TIMEOUT_S = 60.0


class TritonUnusable(Exception):
    """It does not come up; the message says where to look."""


@contextmanager
def running_triton(model: Path, folder: Path, core: int, log: Path) -> Iterator[str]:
    """Where a server of ``model`` (a folder with version folders) answers to gRPC.

    ``folder`` holds its copy of the model.

    Raises:
        TritonUnusable: if it does not come up.
    """
    shutil.copytree(model, folder / model.name)
    http, grpc = _free_port(), _free_port()
    command = [sys.executable, str(_SCRIPT), "--model-repository", str(folder)]
    command += ["--http-port", str(http), "--grpc-port", str(grpc)]
    with log.open("wb") as stream:
        with on_core(core):
            server = subprocess.Popen(command, stdout=stream, stderr=stream)
        try:
            _wait(server, f"http://127.0.0.1:{http}/v2/health/ready", log)
            yield f"127.0.0.1:{grpc}"
        finally:
            server.terminate()
            try:
                server.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise TritonUnusable(f"Triton did not come up; see {log}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
