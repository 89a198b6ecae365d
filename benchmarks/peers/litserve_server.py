"""A model behind LitServe, with or without its batching.

``litserve_server.py FOLDER PORT [MAX_BATCH_SIZE WINDOW_S FAST_QUEUE]``; POST /predict, JSON.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import litserve
import numpy as np
from served_model import Answer, ServedModel, Structure


class Student(litserve.LitAPI):
    """One structure in each request; a batch is evaluated as one."""

    def __init__(self, folder: Path, **batching: Any) -> None:
        super().__init__(**batching)
        self._folder = folder

    def setup(self, device: str) -> None:
        """In the process that evaluates."""
        self._model = ServedModel(self._folder)

    # Types of what comes in and goes out would be taken for schemas, and checked for each request.
    def decode_request(self, request) -> Structure:  # type: ignore[no-untyped-def]
        """From JSON."""
        return np.array(request["atomic_numbers"]), np.array(request["positions"])

    def predict(self, given: Structure | list[Structure]) -> Answer | list[Answer]:
        """A structure; several if batches are allowed."""
        return self._model([given])[0] if isinstance(given, tuple) else self._model(given)

    def encode_response(self, answer: Answer):  # type: ignore[no-untyped-def]
        """To JSON."""
        energy, forces = answer
        return {"energy": energy, "forces": forces.tolist()}


def main(folder: Path, port: int, options: list[str]) -> None:
    """Serve until SIGTERM."""
    batching: dict[str, Any] = {}
    if options:
        batching = {"max_batch_size": int(options[0]), "batch_timeout": float(options[1])}
    fast_queue = bool(options) and options[2] == "fast"
    server = litserve.LitServer(Student(folder, **batching), "cpu", 1, fast_queue=fast_queue)
    server.run(
        host="127.0.0.1",
        port=port,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
