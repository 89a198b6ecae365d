"""FastAPI doing next to nothing: msgpack in, the same out. ``echo_server.py PORT``."""

from __future__ import annotations

import sys

import msgpack
import uvicorn
from fastapi import FastAPI, Request, Response


def create_app() -> FastAPI:
    """One route."""
    app = FastAPI()

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(msgpack.packb(msgpack.unpackb(await request.body())))

    return app


if __name__ == "__main__":
    uvicorn.run(
        create_app(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
        access_log=False,
    )
