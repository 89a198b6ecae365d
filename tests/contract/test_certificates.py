"""A renewed certificate is shown to new connections after SIGHUP, and a bad one to nobody."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from forcegate_service.runtimes.fake import write_fake_model

# A real server, and keys that take a while to make.
pytestmark = pytest.mark.system

COMMAND = [sys.executable, "-c", "from forcegate_service.cli import main; main()"]
WITHIN_S = 60.0


def make_pair(folder: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("making a certificate needs the openssl command, which is not installed")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", str(folder / "certificate.pem"), "-keyout", str(folder / "private.pem")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    make_pair(tmp_path)
    write_fake_model(tmp_path / "models")
    environment = {
        "FORCEGATE_TLS_CERTIFICATE": str(tmp_path / "certificate.pem"),
        "FORCEGATE_TLS_KEY": str(tmp_path / "private.pem"),
    }
    options = ["--runtime", "fake", "--port", "0", "--model-repository", str(tmp_path / "models")]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | environment,
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline().strip()
            assert line.startswith("forcegate is listening on "), (tmp_path / "log").read_text()
            yield line.rsplit(" ", 1)[1], process
        finally:
            process.terminate()
            process.wait(timeout=WITHIN_S)
            process.stdout.close()


def is_trusted(url: str, certificate: str) -> bool:
    context = ssl.create_default_context(cadata=certificate)
    try:
        return httpx.get(f"{url}/health/live", verify=context).status_code == 200
    except httpx.ConnectError:
        return False


def until_logged(log: Path, words: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while words not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def test_a_renewed_certificate_needs_no_restart_and_a_bad_one_changes_nothing(
    server: tuple[str, subprocess.Popen[str]], tmp_path: Path
) -> None:
    url, process = server
    first = (tmp_path / "certificate.pem").read_text()
    context = ssl.create_default_context(cadata=first)
    with httpx.Client(verify=context) as open_before:
        assert open_before.get(f"{url}/health/live").status_code == 200
        make_pair(tmp_path)
        process.send_signal(signal.SIGHUP)
        until_logged(tmp_path / "log", "was read again")
        second = (tmp_path / "certificate.pem").read_text()
        assert (is_trusted(url, first), is_trusted(url, second)) == (False, True)
        # The connection that was there goes on.
        assert open_before.get(f"{url}/health/live").status_code == 200
    (tmp_path / "certificate.pem").write_text(first)
    process.send_signal(signal.SIGHUP)
    until_logged(tmp_path / "log", "the certificate stays as it was")
    assert is_trusted(url, second)
    assert process.poll() is None
