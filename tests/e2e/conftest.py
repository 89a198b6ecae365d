"""Servers that commands are tried against: a gateway with the toy, and one that plays along."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from forcegate_client.testing import FakeServer, serve
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.readme import ROOT
from support.server_process import started


@pytest.fixture(scope="module")
def toy_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a gateway that serves the toy model, for all tests of a module."""
    repository = tmp_path_factory.mktemp("models")
    write_fake_model(repository, "toy")
    with started(repository) as (_, address):
        yield address


@pytest.fixture
def beside_toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_gateway: str) -> Path:
    """An empty folder, entered, in which commands ask that gateway, with a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FORCEGATE_URL", toy_gateway)
    return tmp_path


@pytest.fixture
def server() -> FakeServer:
    """A server of this process that answers what a test tells it to."""
    return FakeServer()


@pytest.fixture
def beside_server(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """An empty folder, entered, in which commands ask ``server``; its URL."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    with serve(server) as address:
        monkeypatch.setenv("FORCEGATE_URL", address)
        yield address


@pytest.fixture(scope="module")
def students_gateway() -> Iterator[str]:
    settings = Settings(model_repository=ROOT / "model_repository", runtime="embedded")
    with running_gateway(settings) as url:
        yield url


@pytest.fixture(params=["local", "remote"])
def where(request: pytest.FixtureRequest, students_gateway: str) -> dict[str, str]:
    """The environment of a program that computes in its own process, or asks the gateway."""
    return {"FORCEGATE_URL": students_gateway} if request.param == "remote" else {}
