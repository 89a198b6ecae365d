"""The yardstick of an overhead measures although its server closes what is idle."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from forcegate_bench.servers.echo import Echo, EchoUnusable


class Impatient(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 0.05

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Wrong(Impatient):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()


@pytest.mark.parametrize("handler", [Impatient, Wrong])
def test_samples_are_taken_after_pauses_of_any_length(handler: type[Impatient]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        echo = Echo(server.server_address[1], b"body")
        try:
            if handler is Wrong:
                with pytest.raises(EchoUnusable, match="received"):
                    echo.sample(0.05)
                return
            for _ in range(2):
                assert echo.sample(0.05)
                time.sleep(0.2)
        finally:
            server.shutdown()
