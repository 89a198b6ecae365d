"""Whatever is wrong with a request, the answer says so, and the next one is served."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from forcegate_service.api.problems import PROBLEM_TYPE
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client

pytestmark = pytest.mark.anyio

PREDICT = "/v1/predict"
JSON = "application/json"
CUBE = [[10.0, 0, 0], [0, 10.0, 0], [0, 0, 10.0]]
FLAT = [[10.0, 0, 0], [20.0, 0, 0], [0, 0, 10.0]]
SLIVER = [[10.0, 0, 0], [9.999, 0.01, 0], [0, 0, 10.0]]


@pytest.fixture
async def client(client: httpx.AsyncClient, request_body: dict[str, Any]) -> AsyncIterator:
    """A client that makes sure, after the test, that the gateway still serves."""
    yield client
    response = await client.post(PREDICT, json=request_body)
    assert response.status_code == 200, response.text


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM_TYPE
    problem = response.json()
    assert (problem["status"], problem["code"]) == (status, code), problem
    assert problem["received"]
    assert problem["expected"]
    assert problem["detail"].isprintable()
    return problem


STRUCTURES: dict[str, tuple[dict[str, Any], str]] = {
    "an element outside the card": ({"atomic_numbers": [26, 1, 1]}, "element_unsupported"),
    "an element that does not exist": ({"atomic_numbers": [500, 1, 1]}, "element_unsupported"),
    "a negative atomic number": ({"atomic_numbers": [-8, 1, 1]}, "element_unsupported"),
    "atomic number zero": ({"atomic_numbers": [0, 1, 1]}, "element_unsupported"),
    "no atoms": ({"atomic_numbers": [], "positions": []}, "no_atoms"),
    "more numbers than positions": ({"atomic_numbers": [8, 1, 1, 1]}, "shape_mismatch"),
    "positions in two dimensions": ({"positions": [[0, 0], [1, 0], [0, 1]]}, "shape_mismatch"),
    "positions in four dimensions": ({"positions": [[0, 0, 0, 0]] * 3}, "shape_mismatch"),
    "a cell of two vectors": ({"cell": CUBE[:2], "pbc": True}, "shape_mismatch"),
    "two atoms at one place": (
        {"positions": [[0, 0, 0], [0, 0, 0], [0, 1, 0]]},
        "atoms_too_close",
    ),
    "an atom at another's image": (
        {"positions": [[0, 0, 0], [9.9, 0, 0], [0, 1, 0]], "cell": CUBE, "pbc": True},
        "atoms_too_close",
    ),
    "an atom at its own image": (
        {"cell": [[0.2, 0, 0], [0, 10, 0], [0, 0, 10]], "pbc": True},
        "atoms_too_close",
    ),
    "images that only a skewed cell brings together": (
        {"cell": [[10, 0, 0], [9.9, 0.01, 0.1], [0, 0, 10]], "pbc": True},
        "cell_singular",
    ),
    "a cell singular along periodic axes": ({"cell": FLAT, "pbc": True}, "cell_singular"),
    "an all but flat cell": ({"cell": SLIVER, "pbc": True}, "cell_singular"),
    "pbc without a cell": ({"pbc": True}, "cell_missing"),
    "pbc along a zero vector": (
        {"cell": [*CUBE[:2], [0, 0, 0]], "pbc": [True, True, True]},
        "cell_missing",
    ),
    "positions in the next galaxy": (
        {"positions": [[1e300, 0, 0], [1, 0, 0], [0, 1, 0]]},
        "coordinate_out_of_range",
    ),
    "a charge": ({"charge": 1}, "charge_unsupported"),
    "a triplet": ({"multiplicity": 3}, "multiplicity_unsupported"),
    "a field nobody knows": ({"momenta": []}, "field_unknown"),
    "numbers as strings": ({"atomic_numbers": ["O", "H", "H"]}, "type_mismatch"),
    "numbers that fit no array": ({"atomic_numbers": [10**30, 1, 1]}, "type_mismatch"),
    "a fractional charge": ({"charge": 0.5}, "type_mismatch"),
    "pbc as a number": ({"pbc": 1}, "type_mismatch"),
    "an id that is no string": ({"id": 7}, "type_mismatch"),
    "an id that is a document": ({"id": "x" * 2000}, "value_out_of_range"),
    "symbols that are numbers": ({"symbols": [8, 1, 1]}, "type_mismatch"),
    "a symbol of no element": ({"symbols": ["O", "H", "Hx"]}, "element_unsupported"),
    "a symbol outside the card": ({"symbols": ["Fe", "H", "H"]}, "elements_contradictory"),
    "symbols that contradict the numbers": ({"symbols": ["H", "O", "H"]}, "elements_contradictory"),
    "fewer symbols than positions": ({"symbols": ["O", "H"]}, "shape_mismatch"),
    "neither numbers nor symbols": ({"atomic_numbers": None}, "field_missing"),
}


@pytest.mark.parametrize("name", STRUCTURES)
async def test_a_structure_that_cannot_be_computed_is_refused(
    name: str, client: httpx.AsyncClient, water: dict[str, Any]
) -> None:
    change, code = STRUCTURES[name]
    body = {"model": "fake", "structures": [water, water | change]}
    problem = refused(await client.post(PREDICT, json=body), 422, code)
    assert problem["structure"] == 1


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "1" + "0" * 400])
async def test_numbers_beyond_the_finite_are_refused(
    number: str, client: httpx.AsyncClient, request_body: dict[str, Any]
) -> None:
    text = json.dumps(request_body).replace("0.96", number)
    response = await client.post(
        PREDICT, content=text, headers={"content-type": "application/json"}
    )
    problem = refused(response, 422, "not_finite")
    assert problem["structure"] == 0
    assert "atom 1" in problem["received"]


async def test_symbols_stand_for_atomic_numbers(
    client: httpx.AsyncClient, water: dict[str, Any]
) -> None:
    named = {"symbols": ["O", "H", "H"], "positions": water["positions"]}
    body = {"model": "fake", "structures": [water, named, water | named]}
    first, *others = (await client.post(PREDICT, json=body)).json()["results"]
    assert others == [first, first]
    iron = named | {"symbols": ["Fe", "H", "H"]}
    body = {"model": "fake", "structures": [water, iron], "on_error": "partial"}
    results = (await client.post(PREDICT, json=body)).json()["results"]
    assert results[0] == first
    assert results[1]["problem"]["code"] == "element_unsupported"


REPEATED = {
    "in the request": ('{"model": "fake", "model": "other", "structures": []}', "'model'"),
    "in a structure": (
        '{"model": "fake", "structures": [{"atomic_numbers": [1], "positions": [[0, 0, 0]], '
        '"positions": [[1, 0, 0]]}]}',
        "'positions'",
    ),
    "of the same value": ('{"model": "fake", "model": "fake", "structures": []}', "'model'"),
    "spelled in another way": (
        '{"model": "fake", "mod\\u0065l": "a", "structures": []}',
        "'model'",
    ),
}


@pytest.mark.parametrize("name", REPEATED)
async def test_a_field_that_is_given_twice_is_refused(name: str, client: httpx.AsyncClient) -> None:
    body, field = REPEATED[name]
    for path in (PREDICT, "/v1/hessian", "/v1/md/reports", "/v1/shadow/results"):
        response = await client.post(path, content=body, headers={"content-type": JSON})
        assert field in refused(response, 422, "field_repeated")["received"]


@pytest.mark.parametrize("half", ["\\ud800", "\\udffd", "a\\ude00b", "\\ude00\\ud83d"])
async def test_a_name_with_half_of_a_character_is_no_field(
    half: str, client: httpx.AsyncClient
) -> None:
    inside = f'{{"atomic_numbers": [1], "positions": [[0, 0, 0]], "{half}": 1}}'
    for body in (
        f'{{"{half}": 1, "model": "fake", "structures": []}}',
        f'{{"model": "fake", "structures": [{inside}]}}',
    ):
        for path in (PREDICT, "/v1/hessian", "/v1/md/reports", "/v1/shadow/results"):
            response = await client.post(path, content=body, headers={"content-type": JSON})
            refused(response, 422, "field_unknown")


async def test_an_unknown_element_is_named_beside_the_known_ones(
    client: httpx.AsyncClient, water: dict[str, Any]
) -> None:
    body = {"model": "fake", "structures": [water | {"atomic_numbers": [26, 1, 1]}]}
    problem = refused(await client.post(PREDICT, json=body), 422, "element_unsupported")
    assert "Fe" in problem["received"]
    assert "H, C, N, O, F, S, Cl" in problem["expected"]


REQUESTS: dict[str, tuple[dict[str, Any], int, str]] = {
    "an unknown property": ({"properties": ["polarizability"]}, 422, "property_unknown"),
    "no property": ({"properties": []}, 422, "property_unknown"),
    "an unknown field": ({"teacher": "xtb"}, 422, "field_unknown"),
    "an unknown on_error": ({"on_error": "ignore"}, 422, "on_error_unknown"),
    "stress of a molecule": ({"properties": ["stress"]}, 422, "stress_undefined"),
    "a version that is a number": ({"version": 1}, 422, "type_mismatch"),
    "structures that are a map": ({"structures": {}}, 422, "type_mismatch"),
    "an unknown model": ({"model": "gpt"}, 404, "model_not_found"),
    "an unknown version": ({"version": "7"}, 404, "version_not_found"),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_that_asks_for_the_undefined_is_refused(
    name: str, client: httpx.AsyncClient, request_body: dict[str, Any]
) -> None:
    change, status, code = REQUESTS[name]
    refused(await client.post(PREDICT, json=request_body | change), status, code)


async def test_whoever_names_no_model_or_an_unknown_one_hears_of_the_default(
    client: httpx.AsyncClient, water: dict[str, Any]
) -> None:
    missing = await client.post(PREDICT, json={"structures": [water]})
    assert '"model": "default"' in refused(missing, 422, "field_missing")["action"]
    unknown = await client.post(PREDICT, json={"model": "gpt", "structures": [water]})
    assert "which is fake here" in refused(unknown, 404, "model_not_found")["action"]


@pytest.mark.parametrize("field", ["model", "structures"])
async def test_a_missing_field_is_named(
    field: str, client: httpx.AsyncClient, request_body: dict[str, Any]
) -> None:
    body = {name: value for name, value in request_body.items() if name != field}
    problem = refused(await client.post(PREDICT, json=body), 422, "field_missing")
    assert field in problem["received"]


@pytest.mark.parametrize("pbc", [[True, True, False], [False, False, True], False])
async def test_stress_without_full_periodicity_is_refused(
    pbc: Any, client: httpx.AsyncClient, water: dict[str, Any]
) -> None:
    structure = water | {"cell": CUBE, "pbc": pbc}
    body = {"model": "fake", "properties": ["energy", "stress"], "structures": [structure]}
    refused(await client.post(PREDICT, json=body), 422, "stress_undefined")


MALFORMED = {
    "nothing": b"",
    "half a document": b'{"model": "fake", "struct',
    "a list": b"[]",
    "a word": b"water",
    "deep nesting": b"[" * 200_000,
    "deep nesting in a field": b'{"model": "fake", "structures": ' + b"[" * 200_000,
    "invalid UTF-8": b'{"model": "\xff\xfe"}',
    "two documents": b"{} {}",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_body_that_is_no_json_object_is_malformed(
    name: str, client: httpx.AsyncClient
) -> None:
    response = await client.post(
        PREDICT, content=MALFORMED[name], headers={"content-type": "application/json"}
    )
    refused(response, 400, "malformed_body")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {},
    ],
)
async def test_other_content_types_are_not_read(
    headers: dict[str, str], client: httpx.AsyncClient
) -> None:
    response = await client.post(PREDICT, content=b"{}", headers=headers)
    refused(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity"])
async def test_encoded_bodies_are_not_read(encoding: str, client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json", "content-encoding": encoding}
    response = await client.post(PREDICT, content=b"{}", headers=headers)
    refused(response, 415, "content_encoding_unsupported")


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*, text/plain"])
async def test_an_answer_nobody_accepts_is_not_made(
    accept: str, client: httpx.AsyncClient, request_body: dict[str, Any]
) -> None:
    response = await client.post(PREDICT, json=request_body, headers={"accept": accept})
    refused(response, 406, "not_acceptable")


@pytest.mark.parametrize("path", ["/page", "/v1/predict/", "/v1/modelz", "/v1/models/"])
async def test_an_unknown_route_is_a_problem_document(path: str, client: httpx.AsyncClient) -> None:
    refused(await client.get(path), 404, "route_not_found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_a_wrong_method_is_told_the_right_one(method: str, client: httpx.AsyncClient) -> None:
    response = await client.request(method, PREDICT)
    refused(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


async def test_a_model_that_does_not_exist_has_no_card(client: httpx.AsyncClient) -> None:
    refused(await client.get("/v1/models/gpt"), 404, "model_not_found")
    refused(await client.get("/v1/models/fake?version=9"), 404, "version_not_found")


async def streamed(pieces: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(pieces):
        yield b" " * size


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "streamed"])
async def test_a_long_body_is_too_large_whether_or_not_it_says_so(
    declared: bool, settings: Settings
) -> None:
    small = settings.model_copy(update={"max_json_bytes": 1000, "max_body_bytes": 2000})
    content: Any = b" " * 1500 if declared else streamed(15, 100)
    async with gateway_client(small) as client:
        response = await client.post(
            PREDICT, content=content, headers={"content-type": "application/json"}
        )
        refused(response, 413, "body_too_large")
        # The same length is welcome as msgpack, and fails for what it is.
        response = await client.post(
            PREDICT, content=b"\xc1" * 1500, headers={"content-type": "application/msgpack"}
        )
        refused(response, 400, "malformed_body")


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"max_atoms": 5}, "too_many_atoms"),
        ({"max_structures": 1}, "too_many_structures"),
        ({"max_edges": 11}, "too_many_pairs"),
    ],
)
async def test_a_request_beyond_a_limit_is_too_large(
    limit: dict[str, int], code: str, settings: Settings, water: dict[str, Any]
) -> None:
    body = {"model": "fake", "structures": [water, water]}
    async with gateway_client(settings.model_copy(update=limit)) as client:
        refused(await client.post(PREDICT, json=body), 413, code)
        assert (await client.post(PREDICT, json=body | {"structures": [water]})).status_code == 200
