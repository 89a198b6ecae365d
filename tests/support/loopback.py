"""Servers on loopback that follow a script, byte by byte, however badly a server may behave."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx

from forcegate_client.http.client import Client
from forcegate_client.testing import FakeClock, FakeServer

__all__ = [
    "Listener",
    "Script",
    "answer_one",
    "answer_to",
    "client_of",
    "good",
    "listening",
    "receive",
    "resets",
    "says",
]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Listener:
    """``requests`` are those that came; ``connections`` counts how often somebody connected."""

    url: str
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)


Script = Callable[[Listener, socket.socket], None]


@contextmanager
def listening(
    *scripts: Script,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> Iterator[Listener]:
    """Each connection follows the next script, and all later ones the last."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    threads: list[threading.Thread] = []
    open_sockets: list[socket.socket] = []
    with socket.create_server((host, 0), family=family) as server:
        shown = f"[{host}]" if ":" in host else host
        scheme = "http" if tls is None else "https"
        listener = Listener(f"{scheme}://{shown}:{server.getsockname()[1]}")

        def follow(script: Script, connection: socket.socket) -> None:
            # The client may hang up at any time, and refuse a certificate.
            with suppress(OSError):
                if tls is not None:
                    connection = tls.wrap_socket(connection, server_side=True)
                    open_sockets.append(connection)
                script(listener, connection)
            connection.close()

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    open_sockets.append(connection)
                    script = scripts[min(listener.connections, len(scripts) - 1)]
                    listener.connections += 1
                    threads.append(threading.Thread(target=follow, args=(script, connection)))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listener
        finally:
            server.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for connection in open_sockets:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def receive(connection: socket.socket) -> bytes:
    """One whole request; nothing if the client has hung up."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].partition(b":")[2]) - len(body) if lengths else 0
    while missing > 0:
        more = connection.recv(65536)
        missing -= len(more)
        data += more
    return data


def answer_to(request: bytes) -> tuple[bytes, bytes]:
    """Head (to which headers may be added) and body of what the model of springs says."""
    head, _, body = request.partition(b"\r\n\r\n")
    method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
    answer = FakeServer().answer(httpx.Request(method, f"http://gateway{path}", content=body))
    kind = answer.headers["Content-Type"]
    return f"HTTP/1.1 {answer.status_code} X\r\nContent-Type: {kind}\r\n".encode(), answer.content


def good(listener: Listener, connection: socket.socket) -> None:
    """Answers whatever comes, on one connection, as a gateway does."""
    while answer_one(listener, connection):
        pass


def answer_one(listener: Listener, connection: socket.socket) -> bool:
    """Answer one request as a gateway does; false if none came."""
    request = receive(connection)
    if request:
        listener.requests.append(request)
        head, body = answer_to(request)
        connection.sendall(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))
    return bool(request)


def says(*pieces: bytes) -> Script:
    """Answers one request with these bytes and hangs up."""

    def script(listener: Listener, connection: socket.socket) -> None:
        listener.requests.append(receive(connection))
        for piece in pieces:
            connection.sendall(piece)

    return script


def resets(listener: Listener, connection: socket.socket) -> None:
    """Reads one request and lets the connection be reset."""
    listener.requests.append(receive(connection))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


@contextmanager
def client_of(listener: Listener, **options: object) -> Iterator[tuple[Client, FakeClock]]:
    """A client that does not sleep, and the clock that knows how long it would have."""
    clock = FakeClock()
    with Client(listener.url, sleep=clock.sleep, **options) as client:  # type: ignore[arg-type]
        yield client, clock
