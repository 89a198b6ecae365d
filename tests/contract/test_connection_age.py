"""Connections do not last for ever, or gateways that are started later would get no clients."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

from forcegate_client import Client, RemoteCalculator
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway

AGE_S = 0.3


@pytest.fixture
def url(repository: Path) -> Iterator[str]:
    settings = Settings(model_repository=repository, runtime="fake", connection_age_s=AGE_S)
    with running_gateway(settings) as url:
        yield url


def ask(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    connection.request("GET", "/v1/models")
    response = connection.getresponse()
    assert response.status == 200
    assert response.read()
    return response


def test_an_old_connection_ends_with_an_answer_that_says_so(url: str) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    # One that is made for it, so that no slow start makes it old.
    connection.connect()
    assert not ask(connection).will_close
    time.sleep(1.5 * AGE_S)
    response = ask(connection)
    assert response.will_close
    assert response.getheader("connection") == "close"


def test_dynamics_does_not_notice(url: str) -> None:
    with Client(url) as client:
        atoms = molecule("H2O")
        atoms.calc = RemoteCalculator(model="fake", client=client)
        first = atoms.get_forces()
        until = time.monotonic() + 4 * AGE_S
        while time.monotonic() < until:
            atoms.positions += 0.0
            atoms.calc.reset()
            np.testing.assert_array_equal(atoms.get_forces(), first)
            time.sleep(0.02)
