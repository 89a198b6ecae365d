"""Which way a request takes: straight to the server unless a proxy has a say."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

import httpx
import pytest
from ase.build import molecule

from forcegate_client import AsyncClient, Client, ForcegateError, RemoteCalculator
from forcegate_client.errors import ServerUnreachable
from forcegate_client.http.connection import Connection, Timeouts
from forcegate_client.http.direct import DirectTransport
from forcegate_client.http.transport import HttpxTransport, open_transport, proxy_of
from forcegate_client.retry import RetryPolicy
from forcegate_client.testing import FakeServer, serve
from support.loopback import Listener, answer_to, listening, receive, says

WATER = molecule("H2O")
PROXY = "http://proxy.corp:3128"
IMPATIENT = RetryPolicy(give_up_after_s=0.0, first_answer_within_s=0.0)


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
        *(
            ({"ALL_PROXY": PROXY, "NO_PROXY": ""}, f"{scheme}://{host}:8000", False)
            for scheme in ("http", "https")
            for host in (
                "127.0.0.1",
                "127.0.1.1",
                "localhost",
                "LOCALHOST.",
                "a.localhost",
                "[::1]",
            )
        ),
    ],
)
def test_a_proxy_of_the_environment_is_asked_for_what_it_stands_before(
    environment: dict[str, str], url: str, through_proxy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(httpx.URL(url)) == (PROXY if through_proxy else None)
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


DEAD = "http://me:hunter2@127.0.0.1:9"


async def ask_async(url: str) -> None:
    async with AsyncClient(url, retry=IMPATIENT) as client:
        await client.predict(WATER)


def ask(url: str) -> None:
    with Client(url, retry=IMPATIENT) as client:
        client.predict(WATER)


BOTH = pytest.mark.parametrize("ask", [ask, lambda url: asyncio.run(ask_async(url))])


@BOTH
@pytest.mark.parametrize("proxy", [DEAD, "socks5://127.0.0.1:9", "nonsense://x", "http://[x"])
def test_no_proxy_is_asked_for_this_machine(
    ask: Callable[[str], None], proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.setenv("no_proxy", "")
    with serve(FakeServer()) as url:
        ask(url)


@BOTH
def test_a_proxy_that_is_away_is_named_without_its_password(
    ask: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", DEAD)
    with pytest.raises(ServerUnreachable, match=r"proxy http://127\.0\.0\.1:9.*NO_PROXY") as caught:
        ask("http://gateway.corp")
    assert "hunter2" not in str(caught.value)


@BOTH
@pytest.mark.parametrize("status", [407, 403, 404, 502])
def test_a_proxy_that_refuses_is_named(
    ask: Callable[[str], None], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = b"HTTP/1.1 %d X\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n" % status
    with listening(says(page)) as listener:
        monkeypatch.setenv("http_proxy", listener.url)
        with pytest.raises(ForcegateError, match=listener.url):
            ask("http://gateway.corp")


@BOTH
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nonsense://x"])
def test_a_proxy_that_cannot_be_used_is_named(
    ask: Callable[[str], None], proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(ServerUnreachable) as caught:
        ask("http://gateway.corp")
    assert caught.value.code == "proxy_unusable"
    assert proxy in str(caught.value)


@BOTH
def test_a_server_that_is_away_can_be_started(ask: Callable[[str], None]) -> None:
    with pytest.raises(ServerUnreachable, match="forcegate-serve --port 9"):
        ask("http://127.0.0.1:9")


@pytest.mark.parametrize("url", ["http://gateway.corp:8000", "http://10.0.0.7", "http://[fe80::1]"])
def test_no_key_goes_to_another_machine_where_everybody_could_read_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_password = url.replace("http://", "http://me:hunter2@")
    for arguments in ((url, "fg_key"), (with_password,)):
        for client in (Client, AsyncClient, RemoteCalculator):
            with pytest.raises(ServerUnreachable) as caught:
                client(*arguments[:1], **({"api_key": "fg_key"} if arguments[1:] else {}))
            assert caught.value.code == "plain_http_refused"
            assert "FORCEGATE_ALLOW_PLAIN_HTTP=1" in str(caught.value)
            assert not {"fg_key", "hunter2"} & set(str(caught.value).split())
    monkeypatch.setenv("FORCEGATE_API_KEY", "fg_key")
    with pytest.raises(ServerUnreachable):
        Client(url)
    for client in (Client, AsyncClient, RemoteCalculator):
        client(url, allow_plain_http=True)
    monkeypatch.setenv("FORCEGATE_ALLOW_PLAIN_HTTP", "1")
    assert Client(url).connection.headers()["Authorization"] == "Bearer fg_key"
    with pytest.raises(ServerUnreachable):
        Client(url, allow_plain_http=False)


@pytest.mark.parametrize(
    "url", ["https://gateway.corp", "http://localhost:1", "http://127.0.0.1", "http://[::1]:8000"]
)
def test_a_key_goes_where_nobody_can_read_it(url: str) -> None:
    assert Client(url, "fg_key").connection.headers()["Authorization"] == "Bearer fg_key"


@BOTH
def test_a_key_does_not_follow_a_redirect(
    ask: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCEGATE_API_KEY", "fg_key")
    with listening(says(b"")) as elsewhere:
        head = f"HTTP/1.1 307 X\r\nLocation: {elsewhere.url}/v1\r\nContent-Length: 0\r\n\r\n"
        with (
            listening(says(head.encode())) as listener,
            pytest.raises(ServerUnreachable, match=elsewhere.url),
        ):
            ask(listener.url)
        assert elsewhere.connections == 0


def test_a_name_and_password_in_the_url_go_before_the_key_on_either_way() -> None:
    connection = Connection.resolve("https://me:hunter2%21@gateway", "fg_key")
    assert connection.headers()["Authorization"] == "Basic bWU6aHVudGVyMiE="
    server = FakeServer()
    Client("https://me:hunter2%21@gateway", "fg_key", transport=server.transport).predict(WATER)
    assert server.requests[0].headers["Authorization"] == "Basic bWU6aHVudGVyMiE="


@pytest.mark.parametrize("key", ["fg_a\r\nX-Admin: 1", "fg_ä", "fg_\x00"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ServerUnreachable, match="FORCEGATE_API_KEY") as caught:
        Client("http://gateway", key)
    assert "fg_" not in str(caught.value)
