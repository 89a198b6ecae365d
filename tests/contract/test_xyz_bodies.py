"""XYZ files sent as they are, and bodies that do not say what they are."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from forcegate_client.messages import PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE, decode_response, encode_request

pytestmark = pytest.mark.anyio

XYZ = {"content-type": "chemical/x-xyz"}
WATER = "3\nwater\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"


async def post(
    client: httpx.AsyncClient, text: str, query: str = "?model=fake", **headers: str
) -> httpx.Response:
    return await client.post(f"/v1/predict{query}", content=text.encode(), headers=XYZ | headers)


def written(frames: list[Atoms], form: str) -> str:
    file = io.StringIO()
    write(file, frames, format=form)
    return file.getvalue()


@pytest.mark.parametrize("form", ["xyz", "extxyz"])
async def test_frames_are_answered_as_the_same_structures_in_msgpack_are(
    form: str, client: httpx.AsyncClient
) -> None:
    frames = [molecule("H2O"), molecule("CH3CH2OH")]
    if form == "extxyz":
        frames.append(bulk("C", "diamond", a=3.6))
    batch = StructureBatch.from_atoms(frames)
    body = encode_request(PredictRequest(batch, "fake"))
    packed = await client.post("/v1/predict", content=body, headers={"content-type": MEDIA_TYPE})
    expected = decode_response(packed.content).predictions.energy
    assert expected is not None
    answer = await post(client, written(frames, form))
    assert answer.headers["content-type"] == "application/json"
    energies = [result["energy"] for result in answer.json()["results"]]
    assert energies == pytest.approx(expected.tolist(), abs=1e-6)
    both = await post(client, written(frames, form), accept=MEDIA_TYPE)
    assert decode_response(both.content).predictions.energy == pytest.approx(expected, abs=1e-6)


async def test_what_is_asked_stands_in_the_query(client: httpx.AsyncClient) -> None:
    query = "?version=1&properties=energy,uncertainty&on_error=partial"
    bad = "2\nnot a structure\nO 0 0 0\n"
    ion = "1\nProperties=species:S:1:pos:R:3 charge=1\nH 0 0 0\n"
    answer = (await post(client, WATER + ion + WATER + bad, query)).json()
    good, charged, again, broken = answer["results"]
    assert set(good) == {"id", "energy", "energy_uncertainty", "max_novelty", "warnings"}
    assert good == again
    assert good["id"] == "water"
    assert charged["problem"]["code"] == "charge_unsupported"
    assert broken["problem"]["code"] == "record_unreadable"
    refusal = await post(client, WATER + bad)
    assert (refusal.status_code, refusal.json()["structure"]) == (422, 1)


REFUSED: dict[str, tuple[str, str, int, str]] = {
    "nothing": ("", "", 400, "malformed_body"),
    "no frame": ("water, please", "", 400, "malformed_body"),
    "an unknown parameter": (WATER, "?modle=fake", 422, "field_unknown"),
    "a parameter twice": (WATER, "?model=fake&model=fake", 422, "field_repeated"),
    "another way with errors": (WATER, "?on_error=ignore", 422, "on_error_unknown"),
    "an unknown property": (WATER, "?properties=polarizability", 422, "property_unknown"),
    "an unknown model": (WATER, "?model=gpt", 404, "model_not_found"),
    "a line without end": ("1\n" + "x" * 20_000 + "\nH 0 0 0\n", "", 413, "too_many_values"),
    "lines without end": ("\n" * 200_000, "", 413, "too_many_values"),
    "words without end": (
        "3\n\n" + "H 0 0 0\n" * 3 + "1 " * 3_000_000,
        "",
        413,
        "too_many_values",
    ),
    "too many frames": ("1\n\nH 0 0 0\n" * 10_001, "", 413, "too_many_structures"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_no_request_in_xyz_is_refused(name: str, client: httpx.AsyncClient) -> None:
    text, query, status, code = REFUSED[name]
    answer = await post(client, text, query)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert (await post(client, WATER)).status_code == 200


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", None])
async def test_whoever_sends_no_content_type_hears_which_header_to_add(
    kind: str | None, client: httpx.AsyncClient
) -> None:
    headers: dict[str, Any] = {} if kind is None else {"content-type": kind}
    answer = await client.post("/v1/predict", content=b"{}", headers=headers)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (415, "unsupported_media_type")
    assert "-H 'Content-Type: application/json'" in problem["action"]
    assert ("curl -d" in problem["received"]) == (kind is not None)


@pytest.mark.parametrize("frames", [1, 3])
async def test_what_only_looks_like_a_charge_is_warned_of(
    frames: int, client: httpx.AsyncClient
) -> None:
    doubtful = WATER.replace("water", "charge 3rd try")
    answer = await post(client, WATER * (frames - 1) + doubtful)
    results = answer.json()["results"]
    assert [bool(result.get("warnings")) for result in results] == [False] * (frames - 1) + [True]
    assert "charge" in results[-1]["warnings"][0]
