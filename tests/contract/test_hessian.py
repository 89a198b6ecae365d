"""``POST /v1/hessian`` answers with the second derivatives of the energy that is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from forcegate_client import Client
from forcegate_client.errors import (
    DigestChanged,
    InvalidStructure,
    ModelNotFound,
    PayloadTooLarge,
    UnprocessableRequest,
    WrongAnswer,
)
from forcegate_client.images.displacements import Hessian
from forcegate_client.images.hessian import PATH, hessian_of
from forcegate_client.local.models import LocalModels
from forcegate_client.testing import FakeServer
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client, running_gateway
from support.engine import CHARGED
from support.local_models import STUDENT, write_repository

ATOL = 1e-5


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def gateway(models: Path) -> Iterator[Client]:
    settings = Settings(model_repository=models, runtime="embedded")
    with running_gateway(settings) as url, Client(url) as client:
        yield client


@pytest.fixture(scope="module")
def local(models: Path) -> LocalModels:
    return LocalModels(models, threads=1)


def body(atoms: Atoms, **more: Any) -> dict[str, Any]:
    structure = {
        "atomic_numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
    }
    return {"model": "fake", "structure": structure} | more


def assert_same(one: Hessian, other: Hessian) -> None:
    assert one.matrix == pytest.approx(other.matrix, abs=ATOL)
    assert one.forces == pytest.approx(other.forces, abs=ATOL)
    assert one.energy == pytest.approx(other.energy, abs=ATOL)
    assert (one.dipole_derivatives is None) == (other.dipole_derivatives is None)
    if one.dipole_derivatives is not None:
        assert one.dipole_derivatives == pytest.approx(other.dipole_derivatives, abs=ATOL)
    assert (one.model, one.version, one.digest) == (other.model, other.version, other.digest)


@pytest.mark.parametrize("model", [STUDENT, CHARGED])
def test_a_gateway_answers_as_a_student_in_this_process(
    model: str, gateway: Client, local: LocalModels
) -> None:
    atoms = molecule("CH3OH")
    assert_same(hessian_of(gateway, atoms, model), hessian_of(local, atoms, model))


def test_a_crystal_has_a_hessian_and_no_dipole(gateway: Client, local: LocalModels) -> None:
    atoms = molecule("CH3OH")
    atoms.set_cell([5.1, 5.5, 6.0])
    atoms.pbc = True
    found = hessian_of(gateway, atoms, CHARGED)
    assert found.dipole_derivatives is None
    assert_same(found, hessian_of(local, atoms, CHARGED))


def test_it_predicts_the_forces_of_a_small_step(gateway: Client) -> None:
    atoms = molecule("CH3OH")
    step = np.random.default_rng(0).normal(scale=2e-3, size=(len(atoms), 3))
    found = hessian_of(gateway, atoms, STUDENT)
    moved = atoms.copy()
    moved.positions += step
    forces = gateway.predict(moved, STUDENT).predictions.forces
    change = -(found.matrix @ step.ravel()).reshape(-1, 3)
    # What is left is of second order.
    assert forces - found.forces == pytest.approx(change, abs=0.05 * abs(change).max())


def test_the_sum_of_dipole_derivatives_is_the_net_charge(gateway: Client) -> None:
    found = hessian_of(gateway, molecule("H2O"), CHARGED)
    assert found.dipole_derivatives is not None
    # About the centre of mass: moving everything moves the centre, too.
    assert found.dipole_derivatives.reshape(-1, 3, 3).sum(axis=0) == pytest.approx(
        np.zeros((3, 3)), abs=1e-4
    )


def test_one_structure_is_to_blame_whichever_copy_is_refused(gateway: Client) -> None:
    atoms = molecule("H2O")
    atoms.numbers[0] = 26
    with pytest.raises(InvalidStructure, match="Fe") as refused:
        hessian_of(gateway, atoms, STUDENT)
    assert (refused.value.code, refused.value.structure) == ("element_unsupported", None)


def test_what_is_no_number_is_refused_before_it_is_sent(gateway: Client) -> None:
    atoms = molecule("H2O")
    atoms.positions[0, 0] = np.nan
    with pytest.raises(InvalidStructure, match="not finite"):
        hessian_of(gateway, atoms, STUDENT)
    with pytest.raises(InvalidStructure, match="no atoms"):
        hessian_of(gateway, Atoms(), STUDENT)


@pytest.mark.parametrize("info", [{"charge": 1}, {"spin": 3}])
def test_charge_and_spin_are_those_of_the_structure(info: dict[str, int], gateway: Client) -> None:
    atoms = molecule("H2O")
    atoms.info |= info
    with pytest.raises(UnprocessableRequest):
        hessian_of(gateway, atoms, STUDENT)


def test_other_weights_than_before_are_an_error(gateway: Client) -> None:
    with pytest.raises(DigestChanged):
        hessian_of(gateway, molecule("H2O"), STUDENT, digest="sha256:other")
    with pytest.raises(ModelNotFound):
        hessian_of(gateway, molecule("H2O"), "nobody")


def test_a_server_without_the_route_is_asked_about_displaced_structures() -> None:
    server = FakeServer()
    with Client(transport=server.transport) as client:
        found = hessian_of(client, molecule("H2O"), "springs")
    assert len(server.predictions) == 1
    assert len(server.predictions[0].structures) == 19
    # Springs: translations cost nothing.
    assert found.matrix.reshape(9, 3, 3).sum(axis=1) == pytest.approx(np.zeros((9, 3)), abs=1e-6)


def test_an_answer_that_is_no_hessian_is_an_error_not_a_number() -> None:
    server = FakeServer()
    server.script.append(lambda request: httpx.Response(200, json={"hessian": [[1.0]]}))
    with Client(transport=server.transport) as client, pytest.raises(WrongAnswer):
        hessian_of(client, molecule("H2O"), "springs")


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "a step of nothing": ({"displacement": 0}, 422, "value_out_of_range"),
    "a step that is no step": ({"displacement": 5.0}, 422, "value_out_of_range"),
    "a step in words": ({"displacement": "small"}, 422, "type_mismatch"),
    "a truth for a step": ({"displacement": True}, 422, "type_mismatch"),
    "properties": ({"properties": ["energy"]}, 422, "field_unknown"),
    "structures": ({"structures": []}, 422, "field_unknown"),
    "no structure of atoms": ({"structure": {"positions": []}}, 422, "field_missing"),
    "no atoms": ({"structure": {"atomic_numbers": [], "positions": []}}, 422, "no_atoms"),
    "a structure that is none": ({"structure": 3}, 422, "type_mismatch"),
    "nobody": ({"model": "nobody"}, 404, "model_not_found"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_asked_is_a_problem(name: str, client: httpx.AsyncClient) -> None:
    change, status, code = REFUSED[name]
    answer = await client.post(PATH, json=body(molecule("H2O")) | change)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["expected"]


@pytest.mark.anyio
async def test_a_body_without_a_structure_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json={"model": "fake"})
    assert (answer.status_code, answer.json()["code"]) == (422, "field_missing")


@pytest.mark.anyio
async def test_only_json_goes_in_and_out(client: httpx.AsyncClient) -> None:
    packed = {"content-type": "application/msgpack"}
    answer = await client.post(PATH, content=b"\x80", headers=packed)
    assert answer.json()["code"] == "unsupported_media_type"
    asked = {"accept": "application/msgpack"}
    answer = await client.post(PATH, json=body(molecule("H2O")), headers=asked)
    assert answer.json()["code"] == "not_acceptable"


@pytest.mark.anyio
async def test_what_is_too_large_when_displaced_is_refused_with_how_much_there_may_be(
    repository: Path,
) -> None:
    settings = Settings(model_repository=repository, runtime="fake", max_atoms=600)
    async with gateway_client(settings) as client:
        # 9 atoms are 55 structures of 495 atoms, 10 would be 610.
        fits = Atoms("H9", np.arange(27.0).reshape(9, 3))
        assert (await client.post(PATH, json=body(fits))).status_code == 200
        answer = await client.post(PATH, json=body(Atoms("H10", np.arange(30.0).reshape(10, 3))))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_atoms")
    assert "at most 9 atoms" in answer.json()["expected"]


def test_a_molecule_that_the_route_refuses_is_asked_about_in_parts(
    models: Path, local: LocalModels
) -> None:
    atoms = molecule("CH3OH")
    settings = Settings(model_repository=models, runtime="embedded", max_atoms=100)
    with running_gateway(settings) as url, Client(url) as client:
        with pytest.raises(PayloadTooLarge):
            client.post(PATH, httpx.Request("POST", url, json=body(atoms)).content)
        assert_same(hessian_of(client, atoms, STUDENT), hessian_of(local, atoms, STUDENT))
