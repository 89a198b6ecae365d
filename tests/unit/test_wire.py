"""What is encoded is decoded again, and limits hold before anything large is made."""

from __future__ import annotations

import dataclasses
from contextlib import suppress

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forcegate_client.errors import (
    ForcegateError,
    InvalidStructure,
    MalformedBody,
    PayloadTooLarge,
    error_from_problem,
)
from forcegate_client.messages import Predictions, PredictRequest, PredictResponse
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import decode_request, decode_response, encode_request, encode_response


@st.composite
def batches(draw: st.DrawFn) -> StructureBatch:
    counts = draw(st.lists(st.integers(0, 5), max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size, total = len(counts), sum(counts)
    periodic, ions = draw(st.booleans()), draw(st.booleans())
    return StructureBatch.from_arrays(
        n_atoms=np.array(counts, dtype=np.int64),
        atomic_numbers=rng.integers(1, 100, total),
        positions=rng.normal(size=(total, 3)),
        cells=rng.normal(size=(size, 3, 3)) if periodic else None,
        pbc=rng.integers(0, 2, (size, 3)) if periodic else None,
        charges=rng.integers(-2, 3, size) if ions else None,
        multiplicities=rng.integers(1, 4, size) if ions else None,
    )


@settings(deadline=None)
@given(
    batch=batches(), version=st.none() | st.text(), on_error=st.sampled_from(["raise", "partial"])
)
def test_a_request_comes_back_as_it_was(batch: StructureBatch, version: str, on_error: str) -> None:
    request = PredictRequest(batch, "model", version, ("energy",), on_error)  # type: ignore[arg-type]
    decoded = decode_request(encode_request(request))
    assert (decoded.model, decoded.version, decoded.on_error) == ("model", version, on_error)
    for field in dataclasses.fields(StructureBatch):
        np.testing.assert_array_equal(
            getattr(decoded.structures, field.name), getattr(batch, field.name)
        )


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200))
def test_noise_is_refused_in_good_order(body: bytes) -> None:
    with pytest.raises(ForcegateError):
        decode_request(body)


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31)
    | st.text(max_size=5)
    | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.binary(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = ["schema", "model", "version", "properties", "on_error", "structures"]
COLUMNS = ["n_atoms", "atomic_numbers", "positions", "cells", "pbc", "charges", "ids"]


@settings(max_examples=300, deadline=None)
@given(
    message=st.dictionaries(st.sampled_from(NAMES), json_like),
    structures=st.dictionaries(st.sampled_from(COLUMNS), json_like),
)
def test_fields_of_any_type_are_read_or_refused_in_good_order(
    message: dict[str, object], structures: dict[str, object]
) -> None:
    complete = {"schema": 1, "model": "m", "structures": structures} | message
    with suppress(ForcegateError):
        decode_request(msgpack.packb(complete))


def test_the_limits_hold_before_the_arrays_are_made() -> None:
    batch = StructureBatch.from_arrays([3, 2], [1] * 5, np.zeros((5, 3)))
    body = encode_request(PredictRequest(batch, "model"))
    assert len(decode_request(body, max_structures=2, max_atoms=5).structures) == 2
    with pytest.raises(PayloadTooLarge, match="2 structures"):
        decode_request(body, max_structures=1)
    with pytest.raises(PayloadTooLarge, match="5 atoms"):
        decode_request(body, max_atoms=4)


def test_a_response_comes_back_as_it_was() -> None:
    predictions = Predictions(
        index=np.array([1, 3]),
        n_atoms=np.array([1, 2]),
        energy=np.array([0.1, -2.0]),
        forces=np.arange(9.0).reshape(3, 3),
        stress=np.arange(12.0).reshape(2, 6),
        problems={0: {"code": "no_atoms"}},
        warnings={3: ["odd"]},
    )
    response = PredictResponse(
        "m", "1", "sha256:0", {"md": "approved"}, predictions, {"queue_s": 1.0}
    )
    decoded = decode_response(encode_response(response))
    assert decoded.predictions.energy_uncertainty is None
    np.testing.assert_array_equal(decoded.predictions.forces, predictions.forces)
    np.testing.assert_array_equal(decoded.predictions.stress, predictions.stress)
    assert decoded.predictions.problems == predictions.problems
    assert decoded.predictions.warnings == predictions.warnings
    assert (decoded.status, decoded.timing) == (response.status, response.timing)


def test_an_error_page_is_no_response() -> None:
    with pytest.raises(MalformedBody):
        decode_response(b"<html>bad gateway</html>")


def test_an_error_crosses_the_wire_as_its_own_class() -> None:
    error = InvalidStructure("0 atoms", expected="one", action="add", code="no_atoms", structure=4)
    received = error_from_problem(error.to_problem(), 422)
    assert type(received) is InvalidStructure
    assert str(received) == str(error)
    assert (received.code, received.structure) == ("no_atoms", 4)
