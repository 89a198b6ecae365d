"""A real Prometheus beside one gateway, with the project's rules and short windows."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forcegate_wheel.rules import short_rules

__all__ = ["Asked", "running_prometheus"]

_EVERY = "2s"
_START_TIMEOUT_S = 120.0


class Asked:
    """A Prometheus that answers queries."""

    def __init__(self, url: str) -> None:
        self._url = url

    def values(self, expression: str, *labels: str) -> dict[tuple[str, ...], float]:
        """What an expression is now, by the values of ``labels``; without what is not known."""
        asked = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self._url}/api/v1/query?{asked}", timeout=30) as answer:
            found: list[Mapping[str, Any]] = json.load(answer)["data"]["result"]
        values = {
            tuple(one["metric"].get(label, "") for label in labels): float(one["value"][1])
            for one in found
        }
        return {key: value for key, value in values.items() if value == value}


@contextmanager
def running_prometheus(folder: Path, gateway: str) -> Iterator[Asked | None]:
    """Watch ``gateway`` (host:port) while the block runs; None where no Prometheus is installed."""
    program = shutil.which("prometheus")
    if program is None:
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yml").write_text(short_rules(), encoding="utf-8")
    # Prometheus reads YAML, of which JSON is a part.
    described = {
        "global": {"scrape_interval": _EVERY, "evaluation_interval": _EVERY},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {"job_name": "forcegate", "static_configs": [{"targets": [gateway]}]},
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(described), encoding="utf-8")
    shutil.rmtree(folder / "data", ignore_errors=True)
    port = _free_port()
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{port}", folder / "log")
            yield Asked(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=30):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(f"prometheus was not ready after {_START_TIMEOUT_S:.0f} s; see {log}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
