"""What the gateway answers is what the model says about each structure alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, diamond100, fcc111, graphene, molecule

from forcegate_client.messages import PredictRequest, PredictResponse, rows_of
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE, decode_response, encode_request
from forcegate_service.contract.card import ModelCard
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client

pytestmark = pytest.mark.anyio

FORCE_TOLERANCE_EV_PER_A = 1e-5
ENERGY_TOLERANCE_EV = 1e-5
REPOSITORY = Path(__file__).parents[2] / "model_repository"


@pytest.fixture(params=["fake", "painn_base"])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def server(model: str, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    if model != "fake":
        settings = Settings(model_repository=REPOSITORY, torch_threads=1)
    async with gateway_client(settings) as client:
        yield client


async def ask(
    client: httpx.AsyncClient, structures: list[Atoms], model: str = "fake", **options: Any
) -> PredictResponse:
    batch = StructureBatch.from_atoms(structures)
    body = encode_request(PredictRequest(structures=batch, model=model, **options))
    response = await client.post(
        "/v1/predict", content=body, headers={"content-type": MEDIA_TYPE}, timeout=60
    )
    assert response.status_code == 200, response.text
    return decode_response(response.content)


def mixed_structures() -> list[Atoms]:
    """64 open, sheet, crystal and triclinic structures of C, N, O and H, all rattled.

    Such as students have an idea of: elsewhere single precision is worth less than the tolerance.
    """
    rng = np.random.default_rng(20)
    names = ["H2O", "C6H6", "CH3CH2OH", "NH3", "CH4", "HCN", "H2CO", "C2H6"]
    structures: list[Atoms] = [molecule(name) for name in names] * 2
    for k in range(16):
        structures.append(graphene(a=2.44 + 0.005 * k, size=(2, 2 + k % 2, 1)))
        methane = molecule("CH4")
        methane.cell = (3.9 + 0.05 * k) * np.eye(3)
        methane.pbc = True
        structures.append(methane)
        ice = molecule("H2O")
        ice.cell = np.diag([3.2, 3.4, 3.6]) + 0.8 * rng.uniform(-1, 1, (3, 3))
        ice.pbc = True
        structures.append(ice)
    for atoms in structures:
        atoms.positions += rng.normal(0.0, 0.03, atoms.positions.shape)
    rng.shuffle(structures)  # type: ignore[arg-type]
    return structures


async def test_64_mixed_structures_together_equal_each_alone(
    server: httpx.AsyncClient, model: str
) -> None:
    structures = mixed_structures()
    assert len(structures) == 64
    assert any(not atoms.cell[2].any() and atoms.pbc.any() for atoms in structures)
    together = (
        await ask(server, structures, model, properties=("energy", "forces", "uncertainty"))
    ).predictions
    assert together.forces is not None
    assert together.energy is not None
    for b, rows in enumerate(rows_of(together.n_atoms.tolist())):
        alone = (await ask(server, [structures[b]], model)).predictions
        assert alone.energy is not None
        np.testing.assert_allclose(
            together.forces[rows], alone.forces, atol=FORCE_TOLERANCE_EV_PER_A, rtol=0
        )
        np.testing.assert_allclose(
            together.energy[b], alone.energy[0], atol=ENERGY_TOLERANCE_EV, rtol=0
        )


async def test_results_do_not_depend_on_the_size_of_batches(settings: Settings) -> None:
    structures = mixed_structures()
    answers = []
    for limit in (1, 500, 10**9):
        async with gateway_client(settings.model_copy(update={"batch_edges": limit})) as client:
            answers.append((await ask(client, structures)).predictions)
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer.index, answers[0].index)
        np.testing.assert_allclose(answer.forces, answers[0].forces, atol=1e-12)
        np.testing.assert_allclose(answer.energy, answers[0].energy, atol=1e-12)


async def test_stress_is_the_strain_derivative_of_the_energy(
    server: httpx.AsyncClient, model: str
) -> None:
    crystal = bulk("C", "diamond", a=3.7)
    crystal.rattle(0.05, seed=1)
    # Small, since students are steep where they know nothing.
    strain = 2.5e-4
    voigt = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    strained = []
    for i, j in voigt:
        for sign in (1, -1):
            deformation = np.eye(3)
            deformation[i, j] += sign * strain / 2
            deformation[j, i] += sign * strain / 2
            atoms = crystal.copy()
            atoms.set_cell(crystal.cell @ deformation, scale_atoms=True)
            strained.append(atoms)
    energies = (await ask(server, strained, model)).predictions.energy
    stress = (await ask(server, [crystal], model, properties=("stress",))).predictions.stress
    assert energies is not None
    assert stress is not None
    expected = (energies[::2] - energies[1::2]) / (2 * strain) / crystal.get_volume()
    tolerance = 1e-6 if model == "fake" else 2e-3 * np.abs(expected).max()
    np.testing.assert_allclose(stress[0], expected, atol=tolerance, rtol=1e-3)


async def test_only_what_was_asked_for_is_answered(client: httpx.AsyncClient) -> None:
    answer = (await ask(client, [molecule("H2O")], properties=("energy",))).predictions
    assert answer.energy is not None
    assert answer.forces is answer.stress is answer.energy_uncertainty is None
    answer = (await ask(client, [molecule("H2O")], properties=("uncertainty",))).predictions
    assert answer.energy is None
    assert answer.energy_uncertainty is not None
    assert answer.max_novelty is not None


async def test_novelty_is_that_of_the_strangest_atom(client: httpx.AsyncClient) -> None:
    pair = [molecule("CH4"), molecule("C6H6")]
    together = (await ask(client, pair, properties=("uncertainty",))).predictions.max_novelty
    assert together is not None
    alone = [
        (await ask(client, [atoms], properties=("uncertainty",))).predictions.max_novelty
        for atoms in pair
    ]
    np.testing.assert_allclose(together, np.concatenate(alone))  # type: ignore[arg-type]


async def test_an_answer_names_its_weights_and_what_they_are_good_for(
    client: httpx.AsyncClient, request_body: dict[str, Any]
) -> None:
    response = (await client.post("/v1/predict", json=request_body)).json()
    card = (await client.get("/v1/models/fake")).json()
    assert response["version"] == "1"
    assert response["digest"] == card["files"]["model.pt"]
    assert response["status"] == card["status"]
    assert response["units"]["forces"] == "eV/Å"
    assert set(response["timing"]) == {"queue_s", "graph_s", "inference_s"}


async def test_a_model_that_was_rejected_for_dynamics_says_so_with_every_answer(
    settings: Settings, repository: Path, request_body: dict[str, Any]
) -> None:
    folder = repository / "fake" / "1"
    card = ModelCard.load(folder)
    card.model_copy(update={"status": {**card.status, "md": "rejected"}}).save(folder)
    async with gateway_client(settings) as client:
        as_json = (await client.post("/v1/predict", json=request_body)).json()
        columnar = await ask(client, [molecule("H2O")])
        listed = (await client.get("/v1/models")).json()["models"][0]
    assert as_json["status"]["md"] == columnar.status["md"] == listed["status"]["md"] == "rejected"


@pytest.mark.parametrize(
    ("formula", "remark"),
    [
        ("CH3", "odd number of electrons"),
        ("NO", "odd number of electrons"),
        ("H2O", None),
        ("CO", None),
        ("CO2", None),
        ("CS2", None),
        ("C2F4", None),
        ("CCl4", None),
        ("C6H6", None),
    ],
)
async def test_a_radical_is_served_with_a_remark(
    formula: str, remark: str | None, client: httpx.AsyncClient
) -> None:
    # As most files have it: nothing says that the spin is not that of a singlet.
    silent = Atoms(molecule(formula).numbers, molecule(formula).positions)
    answer = (await ask(client, [molecule("H2O"), silent])).predictions
    assert answer.index.tolist() == [0, 1]
    remarks = answer.warnings.get(1, [])
    assert bool(remarks) == bool(remark)
    assert 0 not in answer.warnings
    if remark:
        assert remark in remarks[0]


@pytest.mark.parametrize("formula", ["C6H6", "CH3CH2OH", "CH3COOH"])
async def test_an_organic_molecule_stripped_of_hydrogens_is_served_with_a_remark(
    formula: str, client: httpx.AsyncClient
) -> None:
    atoms = molecule(formula)
    del atoms[atoms.numbers == 1]
    answer = (await ask(client, [atoms])).predictions
    assert any("not a single hydrogen" in remark for remark in answer.warnings[0])


async def test_a_carbon_crystal_needs_no_hydrogen(client: httpx.AsyncClient) -> None:
    answer = (await ask(client, [bulk("C"), diamond100("C", (2, 2, 3))])).predictions
    assert answer.warnings == {}


async def test_bad_structures_fail_alone_when_partial_results_are_asked_for(
    client: httpx.AsyncClient, water: dict[str, Any]
) -> None:
    touching = water | {"positions": [[0, 0, 0], [0, 0, 0.1], [0, 1, 0]]}
    body = {
        "model": "fake",
        "on_error": "partial",
        "structures": [
            water | {"id": "good"},
            water | {"id": "iron", "atomic_numbers": [26, 1, 1]},
            water | {"id": "short", "positions": [[0, 0, 0]]},
            touching | {"id": "touching"},
            water | {"id": "charged", "charge": -1},
            water,
        ],
    }
    response = await client.post("/v1/predict", json=body)
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    codes = [result.get("problem", {}).get("code") for result in results]
    assert codes == [
        None,
        "element_unsupported",
        "shape_mismatch",
        "atoms_too_close",
        "charge_unsupported",
        None,
    ]
    assert [result["id"] for result in results][:2] == ["good", "iron"]
    assert results[5]["id"] is None
    assert [result["problem"]["structure"] for result in results[1:5]] == [1, 2, 3, 4]
    assert results[0]["energy"] == results[5]["energy"]
    assert "energy" not in results[1]


async def test_partial_results_may_be_none_at_all(
    client: httpx.AsyncClient, water: dict[str, Any]
) -> None:
    body = {"model": "fake", "on_error": "partial", "structures": [water | {"charge": 2}]}
    response = await client.post("/v1/predict", json=body)
    assert response.json()["results"][0]["problem"]["code"] == "charge_unsupported"


async def test_a_long_vacuum_or_a_shifted_origin_changes_nothing(
    client: httpx.AsyncClient,
) -> None:
    slab = fcc111("C", size=(2, 2, 2), a=3.6)
    padded = slab.copy()
    padded.center(vacuum=500.0, axis=2)
    shifted = slab.copy()
    shifted.positions += [100.0, -250.0, 1000.0]
    answer = (await ask(client, [slab, padded, shifted])).predictions
    assert answer.energy is not None
    np.testing.assert_allclose(answer.energy, answer.energy[0], atol=1e-9)
