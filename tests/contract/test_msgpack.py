"""The binary form: what is broken is refused, what is whole comes back the same."""

from __future__ import annotations

import dataclasses
from typing import Any

import httpx
import msgpack
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from forcegate_client.messages import PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE, decode_response, encode_request

pytestmark = pytest.mark.anyio

HEADERS = {"content-type": MEDIA_TYPE}


async def post(client: httpx.AsyncClient, body: bytes, **headers: str) -> httpx.Response:
    return await client.post("/v1/predict", content=body, headers=HEADERS | headers)


def water_request(**changes: Any) -> PredictRequest:
    batch = StructureBatch.from_atoms([molecule("H2O")])
    return dataclasses.replace(PredictRequest(structures=batch, model="fake"), **changes)


def fields(request: PredictRequest) -> dict[str, Any]:
    message: dict[str, Any] = msgpack.unpackb(encode_request(request))
    return message


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"]) == (status, code), problem
    return problem


@pytest.fixture
async def client(client: httpx.AsyncClient) -> Any:
    """A client that makes sure, after the test, that the gateway still serves."""
    yield client
    assert (await post(client, encode_request(water_request()))).status_code == 200


async def test_every_truncation_of_a_body_is_malformed(client: httpx.AsyncClient) -> None:
    body = encode_request(water_request())
    for length in range(0, len(body), 7):
        refused(await post(client, body[:length]), 400, "malformed_body")


@pytest.mark.parametrize(
    "body",
    [
        b"\x91" * 100_000 + b"\xc0",
        b"\xc1",
        b"\x93\x01\x02\x03",
        b"\x81\xa1\xff\xc0",
        b"\xdf\xff\xff\xff\xff",
        encode_request(water_request()) + b"\x00",
    ],
    ids=["deep lists", "reserved", "list", "utf-8", "huge map", "trailing byte"],
)
async def test_a_body_that_is_no_single_map_is_malformed(
    body: bytes, client: httpx.AsyncClient
) -> None:
    refused(await post(client, body), 400, "malformed_body")


@pytest.mark.parametrize(
    ("name", "buffer"),
    [
        ("n_atoms", b"\x03\x00\x00"),
        ("n_atoms", b"\x04\x00\x00\x00"),
        ("n_atoms", b"\xff\xff\xff\xff"),
        ("atomic_numbers", b"\x08\x01"),
        ("positions", b"\x00" * 71),
        ("positions", b"\x00" * 73),
        ("cells", b"\x00" * 64),
        ("pbc", b"\x00\x00"),
        ("charges", b""),
        ("multiplicities", b"\x00" * 8),
    ],
)
async def test_a_buffer_of_the_wrong_length_is_refused(
    name: str, buffer: bytes, client: httpx.AsyncClient
) -> None:
    message = fields(water_request())
    message["structures"][name] = buffer
    refused(await post(client, msgpack.packb(message)), 422, "shape_mismatch")


EMPTY_LISTS = b"\xdd\x00\x01\x86\xa0" + b"\x90" * 100_000


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"\x81\xa1a" * 100_000 + b"\xc0", 422, "field_unknown"),
        (b"\x81\xa5model\xdd\xff\xff\xff\xff", 422, "type_mismatch"),
        (b"\x81\xa5model" + EMPTY_LISTS, 422, "type_mismatch"),
        (b"\x81\xaaproperties" + EMPTY_LISTS, 413, "too_many_values"),
        (b"\x81\xaaproperties\x91\x91\x90", 422, "type_mismatch"),
        (b"\x81\xaastructures\x81\xa3ids" + EMPTY_LISTS, 413, "too_many_values"),
        (b"\x81\xaastructures\x81\xa3ids\xdd\xff\xff\xff\xff", 413, "too_many_values"),
        (b"\x82\xa5model\xa1a\xa5model\xa1b", 422, "field_repeated"),
        (b"\x81\xaastructures\x82\xa3pbc\xc4\x00\xa3pbc\xc4\x00", 422, "field_repeated"),
    ],
)
async def test_nothing_is_made_of_what_no_field_may_hold(
    body: bytes, status: int, code: str, client: httpx.AsyncClient
) -> None:
    problem = refused(await post(client, body), status, code)
    assert len(problem["detail"]) < 500


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"schema": 2}, "schema_unsupported"),
        ({"extra": 1}, "field_unknown"),
        ({b"bytes": 1, "extra": 1}, "field_unknown"),
        ({"model": 7}, "type_mismatch"),
        ({"properties": "energy"}, "type_mismatch"),
        ({"properties": ["polarizability"]}, "property_unknown"),
        ({"on_error": ["raise"]}, "on_error_unknown"),
        ({"structures": []}, "type_mismatch"),
    ],
)
async def test_a_field_that_is_wrong_is_refused(
    change: dict[Any, Any], code: str, client: httpx.AsyncClient
) -> None:
    refused(await post(client, msgpack.packb(fields(water_request()) | change)), 422, code)


async def test_a_million_atoms_are_too_large(client: httpx.AsyncClient) -> None:
    side = np.arange(100) * 3.0
    positions = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3)
    batch = StructureBatch.from_arrays([10**6], np.full(10**6, 6), positions)
    body = encode_request(PredictRequest(structures=batch, model="fake"))
    problem = refused(await post(client, body), 413, "too_many_atoms")
    assert "1000000 atoms" in problem["received"]


async def test_many_atoms_at_one_place_are_refused_without_a_search(
    client: httpx.AsyncClient,
) -> None:
    batch = StructureBatch.from_arrays([90_000], np.full(90_000, 6), np.zeros((90_000, 3)))
    body = encode_request(PredictRequest(structures=batch, model="fake"))
    refused(await post(client, body), 422, "atoms_too_close")


async def test_the_dense_part_of_a_structure_counts_towards_the_limit(
    client: httpx.AsyncClient,
) -> None:
    side = np.arange(45) * 0.45
    positions = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3)
    batch = StructureBatch.from_arrays([len(positions)], np.full(len(positions), 6), positions)
    body = encode_request(PredictRequest(structures=batch, model="fake"))
    refused(await post(client, body), 413, "too_many_pairs")


async def test_nan_positions_are_refused(client: httpx.AsyncClient) -> None:
    batch = StructureBatch.from_atoms([molecule("H2O")])
    batch.positions[1, 2] = np.nan
    refused(await post(client, encode_request(water_request(structures=batch))), 422, "not_finite")


async def test_an_element_beyond_the_card_is_refused(client: httpx.AsyncClient) -> None:
    batch = StructureBatch.from_atoms([molecule("H2O"), Atoms("Fe")])
    problem = refused(
        await post(client, encode_request(water_request(structures=batch))),
        422,
        "element_unsupported",
    )
    assert problem["structure"] == 1


async def test_no_structures_get_no_results(client: httpx.AsyncClient) -> None:
    empty = StructureBatch.from_arrays([], [], np.zeros((0, 3)))
    response = await post(
        client,
        encode_request(water_request(structures=empty, properties=("energy", "uncertainty"))),
    )
    assert response.status_code == 200, response.text
    assert len(decode_response(response.content).predictions.index) == 0


async def test_both_forms_give_the_same_numbers_in_either_direction(
    client: httpx.AsyncClient,
) -> None:
    binary = await post(client, encode_request(water_request()))
    as_json = await post(client, encode_request(water_request()), accept="application/json")
    water = molecule("H2O")
    body = {
        "model": "fake",
        "structures": [
            {"atomic_numbers": water.numbers.tolist(), "positions": water.positions.tolist()}
        ],
    }
    from_json = await client.post("/v1/predict", json=body, headers={"accept": MEDIA_TYPE})
    assert binary.headers["content-type"] == from_json.headers["content-type"] == MEDIA_TYPE
    first = decode_response(binary.content).predictions
    second = decode_response(from_json.content).predictions
    third = as_json.json()["results"][0]
    np.testing.assert_array_equal(first.forces, second.forces)
    np.testing.assert_array_equal(first.forces, third["forces"])
    assert first.energy is not None
    assert first.energy[0] == third["energy"]


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("*/*", MEDIA_TYPE),
        ("application/*", MEDIA_TYPE),
        ("application/json, */*;q=0.1", "application/json"),
        ("text/html, application/json;q=0.5, application/msgpack;q=0.4", "application/json"),
        ("application/json;q=0, */*", MEDIA_TYPE),
    ],
)
async def test_the_answer_takes_the_form_that_is_wanted_most(
    accept: str, answer: str, client: httpx.AsyncClient
) -> None:
    response = await post(client, encode_request(water_request()), accept=accept)
    assert response.headers["content-type"] == answer
