"""Prometheus and Alertmanager: real ones on loopback, or why they do not run here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from forcegate_monitoring.alerts import Limits, Windows
from support.killable import HANG_S, free_port

__all__ = [
    "PATIENT",
    "Alertmanager",
    "Prometheus",
    "notifications",
    "short_windows",
    "tool",
    "until",
]

_PACKAGES = {
    "nginx": "nginx",
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "amtool": "prometheus-alertmanager",
    "prometheus-alertmanager": "prometheus-alertmanager",
}
_LOOK_S = 0.2


# Machines that run tests promise nothing about time: every step counts as quick enough.
PATIENT = Limits(step_limit="30.0")


def short_windows(**longer: str) -> Windows:
    """Minutes become seconds, and what must last does so for a few looks; except ``longer``.

    Prometheus needs five seconds to know its targets, in which there is none.
    """
    short = {f.name: "6s" if f.name.endswith("_for") else "20s" for f in fields(Windows)}
    return Windows(**short | {"down_for": "15s"} | longer)


def tool(name: str) -> str:
    """The path of a program; without it the test is skipped and says why, and in CI it fails."""
    found = shutil.which(name)
    if found is None:
        said = f"no {name}: install Debian's package {_PACKAGES[name]}"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    return found


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that comes on any machine; only a hang takes so long."""
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(_LOOK_S)


@contextmanager
def notifications() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A URL for Alertmanager to write to, and the alerts that have come there, oldest first."""
    alerts: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            alerts.extend(json.loads(body)["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: what comes is looked at by the test."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", alerts
        finally:
            server.shutdown()
            thread.join()


class _Server:
    """A process that is there within ``with``, and says on a port of its own when it is ready."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir()

    def command(self) -> list[str]:
        raise NotImplementedError

    def __enter__(self) -> Any:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        until(self._ready, f"{self.command()[0]} is not ready")
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()

    def _ready(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
        with suppress(urllib.error.URLError, OSError):
            return bool(self._open("/-/ready").status == 200)
        return False

    def _open(self, path: str) -> Any:
        return urllib.request.urlopen(self.url + path, timeout=30)


class Alertmanager(_Server):
    """The committed configuration, with somebody to tell and without its pauses."""

    def __init__(self, folder: Path, committed: Path, webhook: str) -> None:
        super().__init__(folder)
        described = yaml.safe_load(committed.read_text(encoding="utf-8"))
        for receiver in described["receivers"]:
            receiver["webhook_configs"] = [{"url": webhook, "send_resolved": True}]
        for route in (described["route"], *described["route"]["routes"]):
            route |= {"group_wait": "1s", "group_interval": "1s"}
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(described), encoding="utf-8")

    def command(self) -> list[str]:
        return [
            tool("prometheus-alertmanager"),
            f"--config.file={self.folder / 'alertmanager.yml'}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]


class Prometheus(_Server):
    """Asks one gateway every two seconds, by ``rules``, and tells ``alertmanager``."""

    def __init__(self, folder: Path, rules: str, gateway: str, alertmanager: Alertmanager) -> None:
        super().__init__(folder)
        (folder / "rules.yml").write_text(rules, encoding="utf-8")
        told = {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager.port}"]}]}
        described = {
            "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
            "rule_files": ["rules.yml"],
            "alerting": {"alertmanagers": [told]},
            "scrape_configs": [
                {"job_name": "forcegate", "static_configs": [{"targets": [gateway]}]},
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(described), encoding="utf-8")

    def command(self) -> list[str]:
        return [
            tool("prometheus"),
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def query(self, expression: str) -> list[Mapping[str, Any]]:
        """The series that an expression has now.

        Raises:
            AssertionError: if it is not PromQL.
        """
        asked = urllib.parse.urlencode({"query": expression})
        try:
            answer = json.load(self._open(f"/api/v1/query?{asked}"))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from None
        found: list[Mapping[str, Any]] = answer["data"]["result"]
        return found

    def alerts(self, state: str) -> set[str]:
        """The names of those in a state: pending or firing."""
        found = self.query(f'ALERTS{{alertstate="{state}"}}')
        return {series["metric"]["alertname"] for series in found}
