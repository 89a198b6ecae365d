"""``forcegate-serve`` as its users start and stop it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from forcegate_client import Client
from forcegate_client.errors import ServerUnreachable
from forcegate_client.retry import RetryPolicy
from forcegate_service.api.http.connection import Connection
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway

COMMAND = [sys.executable, "-c", "from forcegate_service.cli import main; main()"]
LISTENING = "forcegate is listening on "


@contextmanager
def started(repository: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its URL, once it is ready."""
    command = [*COMMAND, "--runtime", "fake", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--model-repository", str(repository), *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline().strip()
        assert line.startswith(LISTENING)
        yield process, line.removeprefix(LISTENING)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env=os.environ | environment,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_in_good_order(
    number: signal.Signals, repository: Path, request_body: dict[str, Any], tmp_path: Path
) -> None:
    port_file = tmp_path / "port"
    with started(repository, "--port-file", str(port_file)) as (process, url):
        assert url == f"http://127.0.0.1:{port_file.read_text().strip()}"
        with httpx.Client(base_url=url) as client:
            assert client.post("/v1/predict", json=request_body).status_code == 200
            # The connection is still open, which must not keep the server from ending.
            process.send_signal(number)
            assert process.wait(120) == 0


def test_a_request_that_is_running_is_answered_before_the_server_ends(
    repository: Path, request_body: dict[str, Any]
) -> None:
    # A crystal of many atoms, which takes longer than the signal.
    side = range(24)
    positions = [[2.0 * x, 2.0 * y, 2.0 * z] for x in side for y in side for z in side]
    structure = {"atomic_numbers": [6] * len(positions), "positions": positions}
    body = json.dumps(request_body | {"structures": [structure]})
    with started(repository) as (process, url):
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=180)
        connection.request("POST", "/v1/predict", body, {"Content-Type": "application/json"})
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        response = connection.getresponse()
        assert response.status == 200
        assert len(json.loads(response.read())["results"][0]["forces"]) == len(positions)
        connection.close()
        assert process.wait(120) == 0


def test_an_endless_body_is_cut_off_and_the_server_lives(
    repository: Path, request_body: dict[str, Any]
) -> None:
    with started(repository) as (_process, url):
        host, port = urlsplit(url).netloc.split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(
                b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
            for _ in range(17):
                connection.sendall(chunk)
            assert b" 413 " in connection.recv(4096).splitlines()[0]
        assert httpx.post(f"{url}/v1/predict", json=request_body).status_code == 200


def test_the_version_is_printed() -> None:
    result = run("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("forcegate ")


def test_an_address_that_others_reach_needs_consent() -> None:
    result = run("--host", "0.0.0.0")
    assert result.returncode == 2
    assert "--allow-anonymous" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_setting_is_named_with_its_variable() -> None:
    result = run(FORCEGATE_MAX_ATOMS="many")
    assert result.returncode == 2
    assert "FORCEGATE_MAX_ATOMS" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_repository_without_models_ends_the_server_with_a_reason(tmp_path: Path) -> None:
    for options in (("--model-repository", str(tmp_path / "nowhere")), ()):
        result = run("--port", "0", *options, FORCEGATE_MODEL_REPOSITORY=str(tmp_path))
        assert result.returncode == 1
        assert "--model-repository" in result.stderr
        assert "Traceback" not in result.stderr
        assert LISTENING not in result.stdout


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("--port", str(port), "--runtime", "fake")
    assert result.returncode == 1
    assert f"port {port}" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_hang_up_makes_it_look_at_its_models_again(repository: Path) -> None:
    with started(repository) as (process, url):
        write_fake_model(repository, version="2")
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        versions: list[str] = []
        while versions != ["1", "2"] and time.monotonic() < deadline:
            (entry,) = httpx.get(f"{url}/v1/models").json()["models"]
            versions = entry["versions"]
        assert versions == ["1", "2"]
        shutil.rmtree(repository)
        process.send_signal(signal.SIGHUP)
        # Nothing left to serve: it stays with what it has.
        for _ in range(20):
            assert httpx.get(f"{url}/health/ready").status_code == 200
        process.terminate()
        assert process.wait(timeout=30) == 0


def test_a_head_that_never_ends_loses_its_connection(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "head_timeout_s", 0.5)
    with running_gateway(Settings(model_repository=repository, runtime="fake")) as url:
        address = (urlsplit(url).hostname, urlsplit(url).port)
        with socket.create_connection(address, timeout=30) as silent:
            assert silent.recv(1) == b""
        with socket.create_connection(address, timeout=30) as slow:
            slow.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n")
            assert slow.recv(1) == b""
        with socket.create_connection(address, timeout=30) as prompt:
            prompt.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert prompt.recv(15) == b"HTTP/1.1 200 OK"


def test_https_to_a_server_without_a_certificate_says_what_to_write(repository: Path) -> None:
    once = RetryPolicy(first_answer_within_s=0.0)
    with started(repository) as (_, url):
        client = Client(url.replace("http", "https"), retry=once)
        with client, pytest.raises(ServerUnreachable, match="use http:// in the URL"):
            client.models()


def test_a_port_file_that_cannot_be_written_ends_the_start_in_words(
    repository: Path, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere" / "port"
    options = ("--runtime", "fake", "--port", "0", "--model-repository", str(repository))
    ended = run(*options, "--port-file", str(nowhere))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"the port file {nowhere}" in ended.stderr
    assert "Traceback" not in ended.stderr
