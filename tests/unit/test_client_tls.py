"""Certificates are checked as httpx checks them, whichever way a request travels."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ase.build import molecule

from forcegate_client.errors import ServerUnreachable
from forcegate_client.http.client import Client
from forcegate_client.testing import FakeClock
from support.loopback import Listener, good, listening

WATER = molecule("H2O")

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="certificates are made by the openssl command"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with key.pem and cert.pem, self-signed, for 127.0.0.1 and for no name."""
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=gateway", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture
def server(certificate: Path) -> Iterator[Listener]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with listening(good, tls=context) as listener:
        yield listener


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


def refusal(url: str, transport: httpx.BaseTransport | None = None) -> str:
    clock = FakeClock()
    with (
        Client(url, sleep=clock.sleep, transport=transport) as client,
        pytest.raises(ServerUnreachable) as caught,
    ):
        client.predict(WATER)
    assert clock.naps == []
    return str(caught.value)


def test_a_certificate_named_by_a_file_is_trusted_and_its_connection_kept(
    server: Listener, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    with Client(server.url) as client:
        for _ in range(3):
            assert client.predict(WATER).predictions.energy is not None
    assert server.connections == 1


def test_a_certificate_in_a_folder_is_trusted(
    server: Listener, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(certificate / "cert.pem")]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    shutil.copy(certificate / "cert.pem", tmp_path / f"{name}.0")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with Client(server.url) as client:
        assert client.predict(WATER).predictions.energy is not None


def test_a_certificate_of_nobody_known_is_refused_in_the_words_of_httpx(server: Listener) -> None:
    told = refusal(server.url)
    assert "self-signed certificate" in told
    assert "SSL_CERT_FILE" in told
    assert told == refusal(server.url, httpx.HTTPTransport())


def test_a_certificate_for_another_host_is_refused(
    server: Listener, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    assert "Hostname mismatch" in refusal(server.url.replace("127.0.0.1", "localhost"))


def test_large_batches_pass(
    server: Listener, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    with Client(server.url) as client:
        assert len(client.predict([WATER] * 5000).predictions.index) == 5000
