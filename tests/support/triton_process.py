"""A real Triton server in a process of its own, which dies and comes back on the same ports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.killable import HANG_S, free_port

__all__ = ["RealTriton", "real_triton"]

_SCRIPT = Path(__file__).parents[2] / "deploy" / "triton" / "serve.py"
_LOOK_S = 0.1


@dataclass
class RealTriton:
    """``deploy/triton/serve.py`` over a repository; what it logs goes to ``log``."""

    repository: Path
    log: Path
    http_port: int = field(default_factory=free_port)
    grpc_port: int = field(default_factory=free_port)

    @property
    def address(self) -> str:
        """Where it answers to gRPC, dead or alive."""
        return f"127.0.0.1:{self.grpc_port}"

    def start(self) -> None:
        """Come to life; returns once its models are loaded."""
        command = [sys.executable, str(_SCRIPT), "--model-repository", str(self.repository)]
        command += ["--http-port", str(self.http_port), "--grpc-port", str(self.grpc_port)]
        with self.log.open("ab") as log:
            # The script becomes the server, so this is the server's own process.
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + HANG_S
        while not self.ready():
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, self.log.read_text(encoding="utf-8")
            time.sleep(_LOOK_S)

    def ready(self) -> bool:
        """What it says of itself."""
        url = f"http://127.0.0.1:{self.http_port}/v2/health/ready"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """Die without a word."""
        self.process.kill()
        self.process.wait(HANG_S)
        # Its processes for models do not notice that it is gone, and would stay for ever.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End, if it has not ended."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def real_triton(repository: Path, folder: Path) -> Iterator[RealTriton]:
    """A server that is alive now and gone afterwards; its log lies in ``folder``.

    Where none can run the test is skipped and says why; in CI it fails.
    """
    command = [sys.executable, str(_SCRIPT), "--install-only"]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode:
        if os.environ.get("CI"):
            pytest.fail(installed.stderr)
        pytest.skip(installed.stderr.strip())
    server = RealTriton(repository, folder / "triton.log")
    server.start()
    try:
        yield server
    finally:
        server.stop()
