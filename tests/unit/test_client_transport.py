"""Which way a request takes: straight to the server unless a proxy has a say."""

from __future__ import annotations

import os
import socket

import httpx
import pytest
from ase.build import molecule

from forcegate_client.client import Client
from forcegate_client.connection import Connection, Timeouts
from forcegate_client.direct import DirectTransport
from forcegate_client.errors import ServerUnreachable
from forcegate_client.testing import FakeServer
from forcegate_client.transport import HttpxTransport, has_proxy, open_transport
from support.loopback import Listener, answer_to, listening, receive

WATER = molecule("H2O")
PROXY = "http://proxy.corp:3128"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def way(url: str, given: httpx.BaseTransport | None = None) -> type[object]:
    transport = open_transport(httpx.URL(url), Timeouts(), lambda: 0.0, given)
    transport.close()
    return type(transport)


@pytest.mark.parametrize(
    ("environment", "url", "through_proxy"),
    [
        ({}, "http://gateway:8000", False),
        ({"HTTP_PROXY": PROXY}, "http://gateway:8000", True),
        ({"http_proxy": PROXY}, "http://gateway:8000", True),
        ({"HTTPS_PROXY": PROXY}, "http://gateway:8000", False),
        ({"HTTPS_PROXY": PROXY}, "https://gateway", True),
        ({"ALL_PROXY": PROXY}, "http://gateway:8000", True),
        ({"HTTP_PROXY": ""}, "http://gateway:8000", False),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "*"}, "http://gateway:8000", False),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "a.b, gateway"}, "http://gateway:8000", False),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": ".corp"}, "http://gpu.corp:8000", False),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "corp"}, "http://gpucorp:8000", True),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "127.0.0.1"}, "http://127.0.0.1:8000", False),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "gateway"}, "http://me:secret@gateway", False),
    ],
)
def test_a_proxy_of_the_environment_is_asked_for_what_it_stands_before(
    environment: dict[str, str], url: str, through_proxy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert has_proxy(httpx.URL(url)) is through_proxy
    assert way(url) is (HttpxTransport if through_proxy else DirectTransport)


def test_a_transport_that_is_given_is_used_whatever_the_environment_says() -> None:
    assert way("http://gateway", FakeServer().transport) is HttpxTransport


def test_a_request_goes_to_the_proxy_and_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def proxy(listener: Listener, connection: socket.socket) -> None:
        while request := receive(connection):
            listener.requests.append(request)
            head, body = answer_to(request.replace(b"http://gateway.corp", b""))
            connection.sendall(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))

    with listening(proxy) as listener:
        monkeypatch.setenv("HTTP_PROXY", listener.url)
        with Client("http://gateway.corp") as client:
            for _ in range(2):
                assert client.predict(WATER).predictions.energy is not None
    assert listener.requests[0].startswith(b"POST http://gateway.corp/v1/predict HTTP/1.1\r\n")
    assert listener.connections == 1


def test_a_name_and_password_in_the_url_go_before_the_key_on_either_way() -> None:
    connection = Connection.resolve("http://me:hunter2%21@gateway", "fg_key")
    assert connection.headers()["Authorization"] == "Basic bWU6aHVudGVyMiE="
    server = FakeServer()
    Client("http://me:hunter2%21@gateway", "fg_key", transport=server.transport).predict(WATER)
    assert server.requests[0].headers["Authorization"] == "Basic bWU6aHVudGVyMiE="


@pytest.mark.parametrize("key", ["fg_a\r\nX-Admin: 1", "fg_ä", "fg_\x00"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ServerUnreachable, match="FORCEGATE_API_KEY") as caught:
        Client("http://gateway", key)
    assert "fg_" not in str(caught.value)
