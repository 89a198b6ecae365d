"""A real nginx between clients and a gateway, which keeps connections to it and dies at will."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.killable import HANG_S, free_port
from support.watchers import tool

__all__ = ["Nginx", "behind_nginx"]

# As ingress controllers write it: what asks for another protocol is handed on, and connections to
# the gateway are kept for the next caller.
_CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log warn;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 64m;
    client_body_buffer_size 64m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{
        default $http_connection;
        ''      '';
    }}
    upstream gateway {{
        server 127.0.0.1:{gateway};
        keepalive {kept};
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 1000000;
        location / {{
            proxy_pass http://gateway;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }}
    }}
}}
"""


@dataclass
class Nginx:
    """``folder`` holds its files; it listens on one port for all its lives."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        """Where clients find it, dead or alive."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Come to life; returns once it listens."""
        log = str(self.folder / "error.log")
        self._process = subprocess.Popen(
            [tool("nginx"), "-e", log, "-p", str(self.folder), "-c", str(self.folder / "conf")],
            start_new_session=True,
        )
        deadline = time.monotonic() + HANG_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                assert self._process.poll() is None, Path(log).read_text(encoding="utf-8")
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def kill(self) -> None:
        """Die without a word, master and worker."""
        os.killpg(self._process.pid, 9)
        self._process.wait(HANG_S)


@contextmanager
def behind_nginx(gateway_port: int, folder: Path, kept: int = 32) -> Iterator[Nginx]:
    """An nginx in front of what listens on ``gateway_port``, alive now and gone afterwards."""
    folder.mkdir()
    nginx = Nginx(folder, free_port())
    (folder / "conf").write_text(
        _CONFIGURATION.format(folder=folder, gateway=gateway_port, port=nginx.port, kept=kept),
        encoding="utf-8",
    )
    nginx.start()
    try:
        yield nginx
    finally:
        nginx.kill()
