"""Models of interface 2: ions are taken, atomic charges answered, and a wrong net charge told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from forcegate_client.messages import PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE, decode_response, encode_request
from forcegate_service.contract.graph import Graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client
from support.staged import post, staged, stretched
from support.versions import write_random_version

pytestmark = pytest.mark.anyio

AMMONIUM = {
    "atomic_numbers": [7, 1, 1, 1, 1],
    "positions": [
        [0, 0, 0],
        [0.6, 0.6, 0.6],
        [-0.6, -0.6, 0.6],
        [-0.6, 0.6, -0.6],
        [0.6, -0.6, -0.6],
    ],
}
NITROGEN = 7


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_fake_model(tmp_path / "models", interface=2)
    return tmp_path / "models"


def one_more_on_nitrogen(graph: Graph, output: ModelOutput) -> None:
    assert output.charges is not None
    output.charges[graph.atomic_numbers == NITROGEN] += 0.97


async def test_charges_sum_to_the_net_charge_and_make_the_dipole(
    client: httpx.AsyncClient, water: dict[str, Any]
) -> None:
    asked = {"properties": ["charges", "dipole"]}
    answer = (await post(client, AMMONIUM, water, **asked)).json()
    units = answer["units"]
    assert (units["charges"], units["net_charge"], units["dipole"]) == ("e", "e", "e·Å")
    symmetric, polar = answer["results"]
    for result, structure in ((symmetric, AMMONIUM), (polar, water)):
        assert "energy" not in result
        assert len(result["charges"]) == len(structure["atomic_numbers"])
        assert result["net_charge"] == pytest.approx(sum(result["charges"]), abs=1e-12)
        moment = np.array(result["charges"]) @ np.array(structure["positions"])
        np.testing.assert_allclose(result["dipole"], moment, atol=1e-12)
    assert np.linalg.norm(symmetric["dipole"]) < 1e-12
    # From oxygen, which the toy makes negative, towards the hydrogens.
    assert polar["charges"][0] < 0 < polar["charges"][1]
    assert np.dot(polar["dipole"], np.sum(water["positions"], axis=0)) > 0


async def test_the_dipole_of_an_ion_does_not_depend_on_where_it_lies(settings: Settings) -> None:
    moved = AMMONIUM | {"positions": (np.array(AMMONIUM["positions"]) + 50.0).tolist()}
    async with staged(settings) as (client, runtime):
        runtime.after = one_more_on_nitrogen
        ions = [ion | {"charge": 1} for ion in (AMMONIUM, moved)]
        answer = (await post(client, *ions, properties=["dipole", "charges"])).json()
    here, there = answer["results"]
    assert here["net_charge"] == pytest.approx(0.97)
    np.testing.assert_allclose(here["dipole"], there["dipole"], atol=1e-9)


@pytest.mark.parametrize("told", [1, 0, -1, 2])
async def test_a_net_charge_is_taken_if_it_is_what_the_structure_looks_like(
    told: int, settings: Settings, water: dict[str, Any]
) -> None:
    ion = AMMONIUM | {"charge": told}
    async with staged(settings) as (client, runtime):
        runtime.after = one_more_on_nitrogen
        refused = await post(client, water, ion)
        response = await post(client, water, ion, water, on_error="partial")
    first, answered, last = response.json()["results"]
    assert "problem" not in first
    assert first == last
    if told == 1:
        assert refused.status_code == 200
        assert "problem" not in answered
        return
    problem = answered["problem"]
    assert (refused.status_code, refused.json()["code"]) == (422, "charge_mismatch")
    assert refused.json()["structure"] == 1
    assert problem["code"] == "charge_mismatch"
    assert f"charge {told:+d}" in problem["detail"]
    assert "+0.97 e" in problem["detail"]
    assert "send charge 1" in problem["detail"]


async def test_the_binary_form_says_the_same(
    client: httpx.AsyncClient, water: dict[str, Any]
) -> None:
    wanted = ("energy", "forces", "uncertainty", "charges", "dipole")
    written = (await post(client, water, AMMONIUM, properties=wanted)).json()["results"]
    structures = StructureBatch.from_arrays(
        n_atoms=[3, 5],
        atomic_numbers=water["atomic_numbers"] + AMMONIUM["atomic_numbers"],
        positions=water["positions"] + AMMONIUM["positions"],
    )
    body = encode_request(PredictRequest(structures, "fake", properties=wanted))
    response = await client.post(
        "/v1/predict", content=body, headers={"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE}
    )
    found = decode_response(response.content).predictions
    assert found.charges is not None
    assert found.net_charge is not None
    assert found.dipole is not None
    assert found.charges.tolist() == [q for result in written for q in result["charges"]]
    assert found.net_charge.tolist() == [result["net_charge"] for result in written]
    assert found.dipole.tolist() == [result["dipole"] for result in written]


async def test_many_structures_have_the_charges_that_they_have_alone(
    settings: Settings, water: dict[str, Any]
) -> None:
    structures = [stretched(water, k) if k % 3 else AMMONIUM for k in range(40)]
    small = settings.model_copy(update={"batch_edges": 60})
    async with staged(small) as (client, runtime):
        together = (await post(client, *structures, properties=["charges"])).json()["results"]
        assert len(runtime.batches) > 3
        for structure, result in zip(structures[:6], together, strict=False):
            alone = (await post(client, structure, properties=["charges"])).json()["results"][0]
            assert alone == result


async def test_a_dipole_of_something_periodic_is_not_defined(
    client: httpx.AsyncClient, water: dict[str, Any]
) -> None:
    crystal = water | {"cell": (9.0 * np.eye(3)).tolist(), "pbc": [True, True, True]}
    refused = await post(client, water, crystal, properties=["dipole"])
    assert (refused.status_code, refused.json()["code"]) == (422, "dipole_undefined")
    assert refused.json()["structure"] == 1
    charges = await post(client, crystal, properties=["charges", "energy"])
    assert abs(charges.json()["results"][0]["net_charge"]) < 1e-9


async def test_atomic_charges_that_are_no_numbers_are_no_answer(
    settings: Settings, water: dict[str, Any]
) -> None:
    def spoil(graph: Graph, output: ModelOutput) -> None:
        assert output.charges is not None
        output.charges[graph.atomic_numbers == NITROGEN] = np.nan

    async with staged(settings) as (client, runtime):
        runtime.after = spoil
        response = await post(client, water, AMMONIUM, on_error="partial")
    good, bad = response.json()["results"]
    assert "problem" not in good
    assert bad["problem"]["code"] == "prediction_not_finite"


@pytest.mark.parametrize("name", ["charges", "dipole"])
async def test_a_model_without_charges_says_that_it_has_none(
    name: str, tmp_path: Path, water: dict[str, Any]
) -> None:
    write_fake_model(tmp_path / "neutral")
    settings = Settings(model_repository=tmp_path / "neutral", runtime="fake")
    async with gateway_client(settings) as client:
        refused = await post(client, water, properties=["energy", name])
        ion = await post(client, AMMONIUM | {"charge": 1})
    assert (refused.status_code, refused.json()["code"]) == (422, "property_unsupported")
    assert name in refused.json()["detail"]
    assert ion.json()["code"] == "charge_unsupported"


async def test_a_request_for_more_pairs_than_allowed_is_refused_before_they_are_listed(
    settings: Settings,
) -> None:
    atoms = 2000
    chain = {
        "atomic_numbers": [18 - 12] * atoms,
        "positions": [[1.5 * k, 0.0, 0.0] for k in range(atoms)],
    }
    few = settings.model_copy(update={"max_edges": 1_000_000})
    async with gateway_client(few) as client:
        refused = await post(client, chain)
    assert (refused.status_code, refused.json()["code"]) == (413, "too_many_pairs")
    assert "1999000 pairs" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("engine", "max_edges", "status"),
    [
        pytest.param(True, 50_000, 200, id="the engine lists no pairs"),
        pytest.param(False, 50_000, 413, id="TorchScript lists them"),
        pytest.param(True, 1_000, 413, id="edges are bounded everywhere"),
    ],
)
async def test_of_pairs_at_all_distances_those_that_are_listed_count(
    engine: bool, max_edges: int, status: int, tmp_path: Path
) -> None:
    write_random_version(tmp_path, "charged", engine=engine, charges=True)
    # 79,800 pairs, of which a few thousand are neighbours.
    atoms = 400
    chain = {
        "atomic_numbers": [6] * atoms,
        "positions": [[1.5 * k, 0.0, 0.0] for k in range(atoms)],
    }
    settings = Settings(model_repository=tmp_path, runtime="in-process", max_edges=max_edges)
    async with gateway_client(settings) as client:
        # Random weights give it another charge than 0, once it is computed.
        asked = {"model": "charged", "structures": [chain], "on_error": "partial"}
        answer = await client.post("/v1/predict", json=asked, timeout=60)
    assert answer.status_code == status, answer.text
    if status == 413:
        assert answer.json()["code"] == "too_many_pairs"
