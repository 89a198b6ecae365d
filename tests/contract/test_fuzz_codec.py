"""The binary form under attack: what is whole survives bit by bit, what is not is refused."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forcegate_client.errors import UnprocessableRequest
from forcegate_client.messages import PROPERTIES, PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import (
    MEDIA_TYPE,
    decode_request,
    decode_response,
    encode_request,
)
from forcegate_service.contract.force_uncertainty import ForcePartner
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client
from support.broken_messages import DOUBLES, broken, repeated, sensible_requests
from support.raw_http import problem_of

QUICK = settings(max_examples=150, suppress_health_check=list(HealthCheck))
THOROUGH = settings(max_examples=2000, suppress_health_check=list(HealthCheck))

INT32 = st.integers(-(2**31), 2**31 - 1)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Of a model that has every property."""
    models = tmp_path / "models"
    other = write_fake_model(models, name="other", interface=2)
    digest = other.digest
    partner = ForcePartner(name="other", version="1", digest=digest, scale=1.0, floor=0.01)
    card = write_fake_model(models, interface=2)
    card.model_copy(update={"force_partner": partner}).save(models / "fake" / "1")
    return models


@st.composite
def batches(draw: st.DrawFn) -> StructureBatch:
    """Any batch that can be written down, most of which make no sense."""
    counts = draw(st.lists(st.integers(0, 7), max_size=6))
    size, total = len(counts), sum(counts)
    has = {name: draw(st.booleans()) for name in ("cells", "pbc", "charges", "multiplicities")}
    return StructureBatch.from_arrays(
        n_atoms=counts,
        atomic_numbers=repeated(draw, (total,), st.integers(0, 255), "i8"),
        positions=repeated(draw, (total, 3), DOUBLES, "f8"),
        cells=repeated(draw, (size, 3, 3), DOUBLES, "f8") if has["cells"] else None,
        pbc=repeated(draw, (size, 3), st.booleans(), "?") if has["pbc"] else None,
        charges=repeated(draw, (size,), INT32, "i8") if has["charges"] else None,
        multiplicities=repeated(draw, (size,), INT32, "i8") if has["multiplicities"] else None,
    )


@st.composite
def requests(draw: st.DrawFn) -> PredictRequest:
    batch = draw(batches())
    ids = st.lists(st.text(max_size=5), min_size=len(batch), max_size=len(batch)).map(tuple)
    return PredictRequest(
        structures=batch,
        model=draw(st.text()),
        version=draw(st.none() | st.text()),
        properties=draw(st.lists(st.sampled_from(PROPERTIES) | st.text(max_size=5)).map(tuple)),
        on_error=draw(st.sampled_from(["raise", "partial"])),
        ids=draw(st.none() | ids),
    )


def bits(batch: StructureBatch) -> dict[str, Any]:
    """All that can be told of each array: type, shape, order and bytes."""
    return {
        name: (array.dtype.str, array.shape, array.flags.c_contiguous, array.tobytes())
        for name, array in vars(batch).items()
    }


@given(request=requests())
@settings(max_examples=150)
def test_a_request_comes_back_bit_by_bit(request: PredictRequest) -> None:
    decoded = decode_request(encode_request(request))
    # A cell of zeros is no cell; only their signs are lost.
    batch = request.structures
    if not np.count_nonzero(batch.cells):
        batch = dataclasses.replace(batch, cells=np.abs(batch.cells))
    assert bits(decoded.structures) == bits(batch)
    assert dataclasses.replace(decoded, structures=None) == dataclasses.replace(
        request, structures=None
    )
    # Written again, not one byte differs.
    assert encode_request(decoded) == encode_request(request)


LAYOUTS: dict[str, Callable[[npt.NDArray[Any]], npt.ArrayLike]] = {
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "Fortran order": np.asfortranarray,
    "every other row of a larger array": lambda array: np.repeat(array, 2, axis=0)[::2],
    "backwards in memory": lambda array: array[::-1].copy()[::-1],
    "a column of a table": lambda array: np.stack([array, array], axis=-1)[..., 0],
    "read-only": lambda array: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
    "not aligned": lambda array: np.frombuffer(
        b"x" + array.tobytes(), array.dtype, offset=1
    ).reshape(array.shape),
    "nested lists": lambda array: array.tolist() if array.size else array,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@given(batch=batches())
@settings(max_examples=40)
def test_how_arrays_lie_in_memory_does_not_show_on_the_wire(
    layout: str, batch: StructureBatch
) -> None:
    laid = {name: LAYOUTS[layout](array) for name, array in vars(batch).items()}
    plain, other = (PredictRequest(b, "m") for b in (batch, StructureBatch.from_arrays(**laid)))
    assert encode_request(other) == encode_request(plain)


@given(
    counts=st.lists(st.integers(0, 5), max_size=4),
    integer=st.sampled_from(["u1", "i2", ">u4", "i4", "u8"]),
    floating=st.sampled_from(["f2", ">f4", "f4"]),
)
@settings(max_examples=60)
def test_narrow_types_are_widened_without_a_change_of_value(
    counts: list[int], integer: str, floating: str
) -> None:
    total = sum(counts)
    numbers = np.arange(total).astype(integer)
    positions = (np.arange(3 * total).reshape(total, 3) / 7).astype(floating)
    batch = StructureBatch.from_arrays(
        np.array(counts, dtype=integer), numbers, positions, pbc=np.ones((len(counts), 3), integer)
    )
    decoded = decode_request(encode_request(PredictRequest(batch, "m"))).structures
    assert decoded.n_atoms.tolist() == counts
    assert decoded.atomic_numbers.tolist() == numbers.tolist()
    assert decoded.positions.tolist() == positions.tolist()
    assert decoded.pbc.all()


@pytest.mark.parametrize("name", ["charges", "multiplicities"])
@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**32, 2**32 + 1])
def test_what_does_not_fit_is_refused_and_not_turned_into_another_number(
    name: str, value: int
) -> None:
    batch = StructureBatch.from_arrays([1], [6], np.zeros((1, 3)), **{name: [value]})
    with pytest.raises(UnprocessableRequest):
        encode_request(PredictRequest(batch, "m"))


BROKEN_REQUESTS = sensible_requests().flatmap(
    lambda request: broken(encode_request(request), "structures")
)


def a_request() -> bytes:
    """One that can be answered, and soon."""
    batch = StructureBatch.from_arrays([2], [6, 8], [[0.0, 0.0, 0.0], [1.2, 0.0, 0.0]])
    return encode_request(PredictRequest(batch, "fake"))


async def post(client: httpx.AsyncClient, body: bytes) -> httpx.Response:
    return await client.post("/v1/predict", content=body, headers={"content-type": MEDIA_TYPE})


async def answers_in_good_order(client: httpx.AsyncClient, body: bytes) -> None:
    """A prediction or a complete problem document, and the predictions of those beside it."""
    good = post(client, a_request()), post(client, a_request())
    before, response, after = await asyncio.gather(good[0], post(client, body), good[1])
    if response.status_code == 200:
        decode_response(response.content)
    else:
        problem_of(response.status_code, response.headers["content-type"], response.content)
    for answer in (before, after):
        assert answer.status_code == 200, answer.text
        forces = decode_response(answer.content).predictions.forces
        assert forces is not None
        assert forces.shape == (2, 3)
        assert forces[0, 0] == -forces[1, 0] < 0.0


@pytest.fixture
def settings_of_the_gateway(repository: Path) -> Settings:
    # Between two examples the loop stands still, which the gateway would take for a crowd.
    return Settings(model_repository=repository, runtime="fake", queue_budget_s=1e9)


@pytest.fixture
async def client(settings_of_the_gateway: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client that makes sure, after the test, that the gateway serves and nothing is admitted."""
    async with gateway_client(settings_of_the_gateway) as client:
        yield client
        assert (await post(client, a_request())).status_code == 200
        assert "forcegate_admitted_seconds 0.0" in (await client.get("/metrics")).text


@pytest.mark.anyio
@given(request=sensible_requests())
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
async def test_a_sensible_request_is_understood(
    client: httpx.AsyncClient, request: PredictRequest
) -> None:
    response = await post(client, encode_request(request))
    pbc = request.structures.pbc
    undefined = ("stress" in request.properties and not pbc.all()) or (
        "dipole" in request.properties and pbc.any()
    )
    refused = undefined and request.on_error == "raise"
    assert response.status_code == (422 if refused else 200), response.text


@pytest.mark.anyio
@given(body=BROKEN_REQUESTS)
@QUICK
async def test_some_broken_requests_are_answered_in_good_order(
    client: httpx.AsyncClient, body: bytes
) -> None:
    await answers_in_good_order(client, body)


@pytest.mark.system
@pytest.mark.anyio
@given(body=BROKEN_REQUESTS)
@THOROUGH
async def test_thousands_of_broken_requests_are_answered_in_good_order(
    client: httpx.AsyncClient, body: bytes
) -> None:
    await answers_in_good_order(client, body)
