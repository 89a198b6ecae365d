"""A gateway of our own, in a process of its own, for as long as a block runs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forcegate_trainer.errors import TrainerError

__all__ = ["GatewayFailedError", "running_gateway"]

_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 30.0


class GatewayFailedError(TrainerError):
    """The gateway did not start, or did not stop as it should."""

    code = "gateway_failed"


@contextmanager
def running_gateway(model_repository: Path, log: Path) -> Iterator[str]:
    """Start ``forcegate-serve`` on a free port of loopback, yield its URL, stop it at the end.

    Raises:
        GatewayFailedError: if it does not come up, or does not exit with code 0.
    """
    port_file = log.with_suffix(".port")
    port_file.unlink(missing_ok=True)
    command = [
        str(Path(sys.executable).with_name("forcegate-serve")),
        *("--host", "127.0.0.1", "--port", "0", "--port-file", str(port_file)),
        *("--model-repository", str(model_repository)),
    ]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)  # noqa: S603 (our own)
        try:
            yield f"http://127.0.0.1:{_wait_for_port(process, port_file, log)}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            port_file.unlink(missing_ok=True)
    if code != 0:
        raise GatewayFailedError(f"the gateway ended with exit code {code}; see {log}")


def _wait_for_port(process: subprocess.Popen[bytes], port_file: Path, log: Path) -> int:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        text = port_file.read_text(encoding="utf-8") if port_file.is_file() else ""
        # The line is complete once it ends.
        if text.endswith("\n"):
            return int(text)
        if process.poll() is not None:
            raise GatewayFailedError(
                f"the gateway ended with exit code {process.returncode} before it served; see {log}"
            )
        time.sleep(0.05)
    raise GatewayFailedError(f"the gateway was not ready after {_START_TIMEOUT_S:.0f} s; see {log}")
