"""Messages that were recorded when a wire schema was current must be readable for good."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
from ase.build import bulk, molecule

from forcegate_client.messages import Predictions, PredictRequest, PredictResponse
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import (
    MEDIA_TYPE,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

PAYLOADS = Path(__file__).parent / "payloads"


def mixed_request() -> PredictRequest:
    water, ice = molecule("H2O"), bulk("C", "diamond", a=3.6)
    return PredictRequest(
        structures=StructureBatch.from_atoms([water, ice]),
        model="fake",
        version="1",
        properties=("energy", "forces", "uncertainty"),
        on_error="partial",
        ids=("water", "diamond"),
    )


def partial_response() -> PredictResponse:
    return PredictResponse(
        model="fake",
        version="1",
        digest="sha256:" + "0" * 64,
        status={"md": "approved"},
        predictions=Predictions(
            index=np.array([0, 2]),
            n_atoms=np.array([2, 1]),
            energy=np.array([-1.5, 2.25]),
            forces=np.arange(9.0).reshape(3, 3),
            stress=np.arange(12.0).reshape(2, 6),
            energy_uncertainty=np.array([0.5, 0.25]),
            max_novelty=np.array([1.0, 2.0]),
            problems={1: {"code": "no_atoms", "structure": 1}},
            warnings={2: ["odd number of electrons"]},
        ),
        timing={"queue_s": 0.5},
    )


def test_a_recorded_request_of_schema_1_is_read() -> None:
    request = decode_request((PAYLOADS / "request_schema_1.msgpack").read_bytes())
    expected = mixed_request()
    assert request.ids == expected.ids
    assert (request.model, request.version) == ("fake", "1")
    assert request.properties == expected.properties
    assert request.on_error == "partial"
    for name in ("n_atoms", "atomic_numbers", "positions", "cells", "pbc", "charges"):
        np.testing.assert_array_equal(
            getattr(request.structures, name), getattr(expected.structures, name)
        )


def test_a_recorded_response_of_schema_1_is_read() -> None:
    response = decode_response((PAYLOADS / "response_schema_1.msgpack").read_bytes())
    expected = partial_response()
    assert (response.digest, response.status) == (expected.digest, expected.status)
    assert response.predictions.problems == expected.predictions.problems
    assert response.predictions.warnings == expected.predictions.warnings
    for name in ("index", "n_atoms", "energy", "forces", "stress", "max_novelty"):
        np.testing.assert_array_equal(
            getattr(response.predictions, name), getattr(expected.predictions, name)
        )


def test_what_is_written_today_is_what_was_recorded() -> None:
    """A change here means a new schema, or breaks every client there is."""
    request = (PAYLOADS / "request_schema_1.msgpack").read_bytes()
    response = (PAYLOADS / "response_schema_1.msgpack").read_bytes()
    assert encode_request(decode_request(request)) == request
    assert encode_response(decode_response(response)) == response


@pytest.mark.anyio
async def test_a_recorded_request_is_served(client: httpx.AsyncClient) -> None:
    body = (PAYLOADS / "request_schema_1.msgpack").read_bytes()
    response = await client.post("/v1/predict", content=body, headers={"content-type": MEDIA_TYPE})
    assert response.status_code == 200
    assert decode_response(response.content).predictions.index.tolist() == [0, 1]


@pytest.mark.anyio
async def test_a_recorded_json_request_is_served(client: httpx.AsyncClient) -> None:
    body = (PAYLOADS / "request.json").read_bytes()
    response = await client.post(
        "/v1/predict", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 200, response.text
    assert [result["id"] for result in response.json()["results"]] == ["water", "diamond"]
