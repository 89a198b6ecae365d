"""Who is let in, before what, and what of that can be read in the log."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from forcegate_client import Client
from forcegate_client.errors import ServerUnreachable
from forcegate_client.retry import RetryPolicy
from forcegate_client.testing import FakeClock
from forcegate_service.api.access.caller import Access
from forcegate_service.api.access.keyfile import create_key, revoke_key
from forcegate_service.api.access.keyring import KeyRing
from forcegate_service.api.access.keys import split
from forcegate_service.api.app import create_app
from forcegate_service.api.logs import make_formatter
from forcegate_service.api.problems import PROBLEM_TYPE
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client, in_process

pytestmark = pytest.mark.anyio

COMMAND = [sys.executable, "-c", "from forcegate_service.cli import main; main()"]
PREDICT = "/v1/predict"
OPERATIONS = ["/metrics", "/docs", "/openapi.json"]
MODELS = ["/v1/models", "/v1/models/fake"]


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def key(keys_file: Path) -> str:
    return create_key(keys_file, "Ada", ["predict"])


@pytest.fixture
def reporter(keys_file: Path) -> str:
    return create_key(keys_file, "a monitor", ["report"])


@pytest.fixture
def settings(repository: Path, keys_file: Path, key: str, reporter: str) -> Settings:
    return Settings(model_repository=repository, runtime="fake", keys_file=keys_file)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def wrong(key: str) -> str:
    """The same id with another secret."""
    parts = split(key)
    assert parts is not None
    return f"fg_{parts[0]}_{parts[1][::-1]}"


def refused(response: httpx.Response, status: int) -> None:
    code = {401: "unauthorized", 403: "forbidden"}[status]
    assert response.status_code == status, response.text
    assert response.json()["code"] == code
    assert response.headers["content-type"] == PROBLEM_TYPE
    asked = response.headers.get("www-authenticate")
    assert asked == ("Bearer" if status == 401 else None)


async def test_a_key_with_the_scope_predicts_and_nobody_else(
    client: httpx.AsyncClient, request_body: dict[str, Any], key: str, reporter: str
) -> None:
    good = await client.post(PREDICT, json=request_body, headers=bearer(key))
    assert good.status_code == 200
    stranger = f"fg_nobody01_{key[-43:]}"
    for headers in ({}, bearer(wrong(key)), bearer(stranger), {"Authorization": "Basic eDp5"}):
        response = await client.post(PREDICT, json=request_body, headers=headers)
        refused(response, 401)
        assert key[-43:] not in response.text
    refused(await client.post(PREDICT, json=request_body, headers=bearer(reporter)), 403)


async def test_who_is_not_let_in_is_told_so_before_the_body_is_read(
    client: httpx.AsyncClient, key: str, reporter: str
) -> None:
    async def body() -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""

    for given, status in (("nothing", 401), (wrong(key), 401), (reporter, 403)):
        refused(await client.post(PREDICT, content=body(), headers=bearer(given)), status)


@pytest.mark.parametrize("path", MODELS + OPERATIONS)
async def test_any_key_opens_what_changes_nothing(
    client: httpx.AsyncClient, reporter: str, key: str, path: str
) -> None:
    refused(await client.get(path), 401)
    refused(await client.get(path, headers=bearer(wrong(key))), 401)
    assert (await client.get(path, headers=bearer(reporter))).status_code == 200


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
async def test_health_is_told_to_everybody(client: httpx.AsyncClient, key: str, path: str) -> None:
    for headers in ({}, bearer(wrong(key))):
        assert (await client.get(path, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("setting", "public"),
    [("public_metrics", {"/metrics"}), ("public_docs", {"/docs", "/openapi.json"})],
)
async def test_metrics_and_documents_can_be_made_public(
    settings: Settings, setting: str, public: set[str]
) -> None:
    async with gateway_client(settings.model_copy(update={setting: True})) as client:
        codes = {path: (await client.get(path)).status_code for path in OPERATIONS}
    assert codes == {path: 200 if path in public else 401 for path in OPERATIONS}


async def test_without_a_keys_file_nothing_needs_a_key(
    settings: Settings, request_body: dict[str, Any]
) -> None:
    async with gateway_client(settings.model_copy(update={"keys_file": None})) as client:
        for path in MODELS + OPERATIONS:
            assert (await client.get(path)).status_code == 200
        stray = bearer("fg_of_another_server")
        assert (await client.post(PREDICT, json=request_body, headers=stray)).status_code == 200


async def test_where_anonymous_use_is_allowed_a_wrong_key_is_still_wrong(
    settings: Settings, request_body: dict[str, Any], key: str
) -> None:
    async with gateway_client(settings.model_copy(update={"allow_anonymous": True})) as client:
        assert (await client.post(PREDICT, json=request_body)).status_code == 200
        assert (await client.get("/v1/models")).status_code == 200
        response = await client.post(PREDICT, json=request_body, headers=bearer(wrong(key)))
        refused(response, 401)
        for path in OPERATIONS:
            refused(await client.get(path), 401)


async def test_a_key_is_revoked_and_another_made_while_the_server_runs(
    settings: Settings, keys_file: Path, key: str, request_body: dict[str, Any]
) -> None:
    clock = FakeClock()
    access = Access(KeyRing(keys_file, clock), allow_anonymous=False)
    async with in_process(create_app(settings, access=access)) as (client, gateway):
        assert gateway.loading is not None
        await gateway.loading
        before = await client.post(PREDICT, json=request_body, headers=bearer(key))
        parts = split(key)
        assert parts is not None
        revoke_key(keys_file, parts[0])
        new = create_key(keys_file, "Ada again", ["predict"])
        clock.sleep(1.1)
        after = await client.post(PREDICT, json=request_body, headers=bearer(key))
        again = await client.post(PREDICT, json=request_body, headers=bearer(new))
    assert (before.status_code, again.status_code) == (200, 200)
    refused(after, 401)


async def test_the_document_tells_how_a_key_is_sent(client: httpx.AsyncClient, key: str) -> None:
    document = (await client.get("/openapi.json", headers=bearer(key))).json()
    (scheme,) = document["components"]["securitySchemes"].items()
    assert scheme[1] == {"type": "http", "scheme": "bearer"}
    assert {scheme[0]: []} in document["security"]
    assert "401" in document["paths"]["/v1/models"]["get"]["responses"]
    assert {"401", "403"} <= set(document["paths"][PREDICT]["post"]["responses"])


def odd_places(url: str, key: str, body: dict[str, Any]) -> Iterator[httpx.Request]:
    """Requests with a key wherever somebody might put one by mistake."""
    for place in (
        bearer(key),
        {"Authorization": key},
        {"Authorization": f"Basic {key}"},
        {"X-API-Key": key},
        {"X-Request-ID": key},
        {"X-Request-ID": f"run.{key}"},
        {"Cookie": f"key={key}"},
        {"User-Agent": key},
        {"Accept": key},
        {"Content-Type": key},
        {"Content-Encoding": key},
        {key: "1"},
    ):
        yield httpx.Request("POST", url + PREDICT, json=body, headers=place)
    known = bearer(key)
    for path in (f"/{key}", f"/v1/models/{key}", f"/v1/models/fake?version={key}", f"/?key={key}"):
        yield httpx.Request("GET", url + path)
        yield httpx.Request("GET", url + path, headers=known)
    yield httpx.Request("DELETE", f"{url}{PREDICT}?api_key={key}", headers=known)
    for wrong_body in (
        body | {"model": key},
        body | {"key": key},
        body | {"properties": [key]},
        body | {"structures": [{"id": key, "atomic_numbers": [key], "positions": [[0, 0, 0]]}]},
        key,
    ):
        yield httpx.Request("POST", url + PREDICT, json=wrong_body, headers=known)
    yield httpx.Request("POST", url + PREDICT, content=key.encode(), headers=known)


@contextmanager
def captured(handler: logging.Handler) -> Iterator[None]:
    """Everything that this process logs, but for the tests' own client."""
    handler.addFilter(lambda record: not record.name.startswith(("httpx", "httpcore")))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


@pytest.mark.parametrize("damage", [str, wrong], ids=["right key", "wrong key"])
async def test_no_secret_is_logged_even_before_the_last_resort(
    client: httpx.AsyncClient,
    request_body: dict[str, Any],
    key: str,
    damage: Callable[[str], str],
) -> None:
    stream = io.StringIO()
    given = damage(key)
    answers = 0
    with captured(logging.StreamHandler(stream)):
        for request in odd_places("http://localhost", given, request_body):
            assert (await client.send(request)).status_code != 500
            answers += 1
    assert stream.getvalue().count("caller") == answers
    assert given[-43:] not in stream.getvalue()


async def test_each_request_leaves_one_line_with_its_caller(
    client: httpx.AsyncClient, request_body: dict[str, Any], key: str
) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(make_formatter(Settings(log_format="json")))
    with captured(handler):
        named = bearer(key) | {"X-Request-ID": "run-7"}
        answer = await client.post(f"{PREDICT}?trace=1", json=request_body, headers=named)
        await client.get("/v1/models/secret-project")
        await client.get("/nowhere", headers=bearer(key))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    lines = [line for line in lines if "route" in line]
    parts = split(key)
    assert parts is not None
    told = [(line["method"], line["route"], line["status"], line["caller"]) for line in lines]
    assert told == [
        ("POST", PREDICT, 200, parts[0]),
        ("GET", "/v1/models/{name}", 401, None),
        ("GET", "unmatched", 404, None),
    ]
    assert lines[0]["request_id"] == "run-7"
    assert [line["digest"] for line in lines] == [answer.headers["X-Request-Digest"], None, None]
    assert len({line["request_id"] for line in lines}) == 3
    assert all(0 <= line["duration_s"] < 600 for line in lines)
    assert "trace" not in stream.getvalue()
    assert "secret-project" not in stream.getvalue()


@contextmanager
def started(log: Path, *options: str, **environment: str) -> Iterator[str]:
    """The URL of a server process, once it is ready; what it logs is in ``log`` at the end."""
    command = [*COMMAND, "--runtime", "fake", "--port", "0", *options]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=os.environ | environment
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline().strip()
            assert line.startswith("forcegate is listening on "), log.read_text()
            yield line.rsplit(" ", 1)[1]
            process.terminate()
            assert process.wait(120) == 0
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_server_that_logs_everything_logs_no_key(
    repository: Path,
    keys_file: Path,
    key: str,
    request_body: dict[str, Any],
    tmp_path: Path,
    log_format: str,
) -> None:
    log = tmp_path / "log"
    options = ["--model-repository", str(repository), "--keys-file", str(keys_file)]
    environment = {"FORCEGATE_LOG_FORMAT": log_format, "FORCEGATE_LOG_LEVEL": "debug"}
    with started(log, *options, **environment) as url, httpx.Client() as client:
        for request in odd_places(url, key, request_body):
            assert client.send(request).status_code < 500
        assert client.post(url + PREDICT, json=request_body, headers=bearer(key)).is_success
    text = log.read_text(encoding="utf-8")
    assert key[-43:] not in text
    assert "/v1/models/{name}" in text
    if log_format == "json":
        assert all("time" in json.loads(line) for line in text.splitlines())


def run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--runtime", "fake", "--port", "0", *options],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env=os.environ | environment,
    )


def test_a_keys_file_that_others_read_keeps_the_server_from_starting(
    repository: Path, keys_file: Path, key: str
) -> None:
    keys_file.chmod(0o644)
    result = run("--model-repository", str(repository), FORCEGATE_KEYS_FILE=str(keys_file))
    assert result.returncode == 1
    assert f"chmod 600 {keys_file}" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for loopback, and its private key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("making a certificate needs the openssl command, which is not installed")
    paths = tmp_path / "certificate.pem", tmp_path / "private.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return paths


def tls(certificate: tuple[Path, Path]) -> dict[str, str]:
    return {
        "FORCEGATE_TLS_CERTIFICATE": str(certificate[0]),
        "FORCEGATE_TLS_KEY": str(certificate[1]),
    }


def test_a_server_with_a_certificate_speaks_https_and_nothing_else(
    repository: Path, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    options = ["--model-repository", str(repository)]
    with started(tmp_path / "log", *options, **tls(certificate)) as url:
        assert url.startswith("https://127.0.0.1:")
        response = httpx.get(f"{url}/health/live", verify=trusted)
        assert response.json() == {"status": "live"}
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.get(f"{url}/health/live")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url.replace('https', 'http')}/health/live")
        # forcegate's own clients say what to write instead.
        once = RetryPolicy(first_answer_within_s=0.0)
        client = Client(url.replace("https", "http"), retry=once)
        with client, pytest.raises(ServerUnreachable, match="https:// in the URL"):
            client.models()


def test_a_certificate_that_cannot_be_used_keeps_the_server_from_starting(
    repository: Path, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    for pair in ((certificate[0], tmp_path / "nothing"), (certificate[0], certificate[0])):
        result = run("--model-repository", str(repository), **tls(pair))
        assert result.returncode == 1
        assert "FORCEGATE_TLS_KEY" in result.stderr
        assert "Traceback" not in result.stderr
        assert result.stdout == ""
