"""How servers are asked for energies and forces, and how their answers are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from forcegate_bench.load.http1 import post
from forcegate_client.messages import PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE, decode_response, encode_request

__all__ = ["Answered", "Dialect", "forcegate_json", "forcegate_msgpack", "peer_json", "peer_raw"]

Float = npt.NDArray[np.float64]
# Energies [B] in eV, forces [N, 3] in eV/Å.
Answered = tuple[Float, Float]

_JSON = "application/json"
_PREDICT = "/v1/predict"


@dataclass(frozen=True)
class Dialect:
    """One route of a server: what is sent to it and what comes back."""

    path: str
    content_type: str
    encode: Callable[[StructureBatch], bytes]
    decode: Callable[[bytes], Answered]

    def request(self, batch: StructureBatch) -> bytes:
        """The whole request for ``batch``."""
        return post(self.path, self.content_type, self.encode(batch))


def forcegate_msgpack(model: str) -> Dialect:
    """What forcegate's own clients speak."""
    return Dialect(_PREDICT, MEDIA_TYPE, partial(_msgpack, model), _read_msgpack)


def forcegate_json(model: str) -> Dialect:
    """The form for people."""
    return Dialect(_PREDICT, _JSON, partial(_json, model), _read_json)


def peer_json(path: str) -> Dialect:
    """One structure as most people would write it down."""
    return Dialect(path, _JSON, _peer_json, _read_peer_json)


def peer_raw(path: str) -> Dialect:
    """One structure as bytes: count (<i4), numbers (u1), positions (<f8); energy, forces (<f8)."""
    return Dialect(path, "application/octet-stream", _peer_raw, _read_peer_raw)


def _msgpack(model: str, batch: StructureBatch) -> bytes:
    return encode_request(PredictRequest(structures=batch, model=model))


def _read_msgpack(body: bytes) -> Answered:
    predictions = decode_response(body).predictions
    assert predictions.energy is not None
    assert predictions.forces is not None
    return predictions.energy, predictions.forces


def _json(model: str, batch: StructureBatch) -> bytes:
    bounds = batch.offsets
    structures = [
        {
            "atomic_numbers": batch.atomic_numbers[bounds[b] : bounds[b + 1]].tolist(),
            "positions": batch.positions[bounds[b] : bounds[b + 1]].tolist(),
        }
        for b in range(len(batch))
    ]
    return json.dumps({"model": model, "structures": structures}).encode("utf-8")


def _read_json(body: bytes) -> Answered:
    results = json.loads(body)["results"]
    energies = np.array([result["energy"] for result in results])
    return energies, np.concatenate([np.array(result["forces"]) for result in results])


def _peer_json(batch: StructureBatch) -> bytes:
    message = {
        "atomic_numbers": batch.atomic_numbers.tolist(),
        "positions": batch.positions.tolist(),
    }
    return json.dumps(message).encode("utf-8")


def _read_peer_json(body: bytes) -> Answered:
    answer = json.loads(body)
    return np.array([answer["energy"]]), np.array(answer["forces"])


def _peer_raw(batch: StructureBatch) -> bytes:
    count = np.array([batch.total_atoms], dtype="<i4").tobytes()
    numbers = batch.atomic_numbers.astype("u1").tobytes()
    return count + numbers + batch.positions.astype("<f8").tobytes()


def _read_peer_raw(body: bytes) -> Answered:
    values = np.frombuffer(body, dtype="<f8")
    return values[:1], values[1:].reshape(-1, 3)
