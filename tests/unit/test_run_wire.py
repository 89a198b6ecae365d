"""What is asked of a server that moves structures, and its records, arrive as they were sent."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import msgpack
import numpy as np
import pytest

from forcegate_client.errors import ForcegateError, MalformedBody, UnprocessableRequest
from forcegate_client.runs import End, Frame, Progress, Record, RunHeader, RunRequest, RunSummary
from forcegate_client.structures import StructureBatch
from forcegate_client.wire.run_records import JSON_LINES, RECORDS, RecordReader, StreamForm, encode
from forcegate_client.wire.run_request import decode_run, encode_run

RNG = np.random.default_rng(7)
WATERS = StructureBatch.from_arrays([3, 3], [8, 1, 1] * 2, RNG.normal(size=(6, 3)))
DYNAMICS = RunRequest(
    task="dynamics",
    structures=WATERS,
    model="fake",
    version="1",
    method="langevin",
    steps=20_000,
    frame_interval=50,
    properties=("forces",),
    temperature_k=300.0,
    friction_per_fs=0.01,
    seed=2**40 + 1,
    velocities=RNG.normal(size=(6, 3)),
    masses=np.array([16.0, 1.0, 1.0, 16.0, 2.0, 2.0]),
    start_steps=np.array([0, 19_999]),
    streams=np.array([7, 3]),
    fixed=np.array([True, False, False, False, False, True]),
    max_novelty=3.5,
    on_guard="flag",
)
RELAXATION = RunRequest(
    task="relax", structures=WATERS, model="fake", method="lbfgs", steps=200, fmax=0.01
)
PROBLEM = {"code": "atoms_too_close", "status": 422, "structure": 1}
STREAM: list[Record] = [
    RunHeader(
        *("dynamics", "nve", "fake", "1", "sha256:0", "sha256:1", 2),
        status={"md": "approved"},
        units={"energy": "eV"},
        limits={"run_s": 3.0},
        warnings={1: ["odd"]},
    ),
    Frame(0, 50, RNG.normal(size=(3, 3)), -1.0 / 3.0, RNG.normal(size=(3, 3)), 300.0, 1.1, 0.01),
    Progress(100),
    Frame(
        1,
        7,
        RNG.normal(size=(3, 3)),
        1e-300,
        fmax=0.1,
        charges=RNG.normal(size=3),
        warnings=["novel"],
    ),
    End(1, 70, "failed", problem=PROBLEM),
    End(0, 100, "finished", None, 0.1, 0.01, 20, 5.0, 299.0),
    RunSummary("draining", 170, 1.5, 0.5, 113.0, 4.8),
]


def same(one: object, other: object) -> None:
    assert type(one) is type(other)
    for place in fields(one):  # type: ignore[arg-type]
        left, right = getattr(one, place.name), getattr(other, place.name)
        if isinstance(left, StructureBatch):
            same(left, right)
        elif isinstance(left, np.ndarray):
            assert right.dtype == left.dtype
            assert right.tobytes() == left.tobytes(), place.name
        else:
            assert left == right, place.name


@pytest.mark.parametrize("request_", [DYNAMICS, RELAXATION], ids=["dynamics", "relax"])
def test_a_request_arrives_as_it_was_sent(request_: RunRequest) -> None:
    same(request_, decode_run(request_.task, encode_run(request_)))


@pytest.mark.parametrize("form", [RECORDS, JSON_LINES])
@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_records_arrive_to_the_last_bit_in_whatever_pieces(form: StreamForm, piece: int) -> None:
    sent = b"".join(encode(record, form) for record in STREAM)
    reader = RecordReader(form)
    found = [
        record
        for start in range(0, len(sent), piece)
        for record in reader.feed(sent[start : start + piece])
    ]
    assert not reader.within_record
    assert len(found) == len(STREAM)
    for one, other in zip(STREAM, found, strict=True):
        same(one, other)


def test_a_stream_that_is_cut_off_is_known_by_its_end() -> None:
    reader = RecordReader(RECORDS)
    assert len(list(reader.feed(encode(STREAM[0], RECORDS)[:-1]))) == 0
    assert reader.within_record


def test_no_record_is_longer_than_it_may_be() -> None:
    with pytest.raises(MalformedBody, match="at most 100"):
        list(RecordReader(RECORDS, most_bytes=100).feed((1 << 31).to_bytes(4, "little")))
    with pytest.raises(MalformedBody, match="at most 100"):
        list(RecordReader(JSON_LINES, most_bytes=100).feed(b"{" * 200))


def changed(message: dict[str, Any], **values: Any) -> dict[str, Any]:
    structures = message["structures"] | values.pop("structures", {})
    return message | values | {"structures": structures}


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"method": "fire"}, "value_out_of_range"),
        ({"method": ["nve"]}, "type_mismatch"),
        ({"timestep_fs": 0.0}, "value_out_of_range"),
        ({"timestep_fs": float("nan")}, "value_out_of_range"),
        ({"timestep_fs": True}, "type_mismatch"),
        ({"steps": -1}, "value_out_of_range"),
        ({"steps": 1.5}, "type_mismatch"),
        ({"steps": 10_000}, "steps_contradictory"),
        ({"friction_per_fs": 0.0}, "friction_missing"),
        ({"fmax": 0.1}, "field_unknown"),
        ({"relax_cell": True}, "field_unknown"),
        ({"nonsense": 1}, "field_unknown"),
        ({"properties": ["stress"]}, "property_unknown"),
        ({"properties": 3}, "property_unknown"),
        ({"on_guard": "pray"}, "value_out_of_range"),
        ({"on_error": "pray"}, "on_error_unknown"),
        ({"structures": {"velocities": b"\0" * 8}}, "shape_mismatch"),
        ({"structures": {"velocities": np.full(18, np.inf).tobytes()}}, "value_out_of_range"),
        ({"structures": {"masses": np.zeros(6).tobytes()}}, "value_out_of_range"),
        ({"structures": {"streams": np.array([0, 2**33]).tobytes()}}, "value_out_of_range"),
        ({"structures": {"start_steps": np.array([-1, 0]).tobytes()}}, "value_out_of_range"),
        ({"structures": {"fixed": b"\0"}}, "shape_mismatch"),
    ],
    ids=str,
)
def test_what_no_run_has_is_refused_in_words(values: dict[str, Any], code: str) -> None:
    message = changed(msgpack.unpackb(encode_run(DYNAMICS)), **values)
    with pytest.raises(ForcegateError) as caught:
        decode_run("dynamics", msgpack.packb(message))
    assert (caught.value.code, caught.value.status) == (code, 422)
    assert caught.value.expected
    assert caught.value.action


def test_relaxing_the_cell_is_refused_in_words() -> None:
    message = changed(msgpack.unpackb(encode_run(RELAXATION)), relax_cell=True)
    with pytest.raises(UnprocessableRequest, match="cells stay as they are") as caught:
        decode_run("relax", msgpack.packb(message))
    assert caught.value.code == "relax_cell_unsupported"


def test_what_is_no_record_is_refused() -> None:
    whole = encode(replace(STREAM[1], forces=np.zeros((3, 3))), RECORDS)  # type: ignore[type-var]
    message = msgpack.unpackb(whole[4:])
    for wrong in (
        {"record": "nonsense"},
        {"positions": b"\0"},
        {"forces": np.zeros(6).tobytes()},
        {"energy": "much"},
        {"step": -1},
        {"positions": np.full(9, np.nan).tobytes()},
        {"warnings": [1]},
    ):
        body = msgpack.packb(message | wrong)
        with pytest.raises(MalformedBody):
            list(RecordReader(RECORDS).feed(len(body).to_bytes(4, "little") + body))
    with pytest.raises(MalformedBody):
        list(RecordReader(JSON_LINES).feed(b"[]\n"))
