"""A model behind FastAPI as most people write it: a thread for each request, no batches.

``fastapi_server.py FOLDER PORT``; POST /json and /raw, one structure each.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from served_model import ServedModel


class Molecule(BaseModel):
    """Positions in Å."""

    atomic_numbers: list[int]
    positions: list[list[float]]


def create_app(model: ServedModel) -> FastAPI:
    """Both routes."""
    app = FastAPI()

    @app.post("/json")
    def predict(molecule: Molecule) -> dict[str, Any]:
        structure = np.array(molecule.atomic_numbers), np.array(molecule.positions)
        energy, forces = model([structure])[0]
        return {"energy": energy, "forces": forces.tolist()}

    @app.post("/raw")
    async def predict_raw(request: Request) -> Response:
        body = await request.body()
        count = int.from_bytes(body[:4], "little")
        numbers = np.frombuffer(body, "u1", count, 4)
        positions = np.frombuffer(body, "<f8", 3 * count, 4 + count).reshape(-1, 3)
        energy, forces = (await run_in_threadpool(model, [(numbers, positions)]))[0]
        return Response(np.float64(energy).tobytes() + forces.tobytes())

    return app


if __name__ == "__main__":
    uvicorn.run(
        create_app(ServedModel(Path(sys.argv[1]))),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        log_level="warning",
        access_log=False,
    )
