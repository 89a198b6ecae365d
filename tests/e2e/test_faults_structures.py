"""A structure that the model cannot stand fails alone among 63 that it can, in a real server."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from forcegate_client import Client
from forcegate_client.errors import UnprocessableRequest
from forcegate_client.messages import Predictions, rows_of
from forcegate_client.wire import decode_response
from forcegate_service.contract.card import MODEL_NAME, ModelCard, file_digest
from support.killable import KillableGateway, killable
from support.models import newest_version

pytestmark = pytest.mark.system

SPOILED = "painn_spoiled"
FLUORINE, CHLORINE, XENON = 9, 17, 54
HEALTHY = ("CH3CH2OH", "C4H4S", "CH3CONH2", "H2O", "C6H6", "CH3SH", "CH3OH")
# The bad one stands neither first nor last.
SIZE, PLACE = 64, 23
# eV and eV/Å; a batch that was halved has other rows, which TorchScript rounds differently.
ROUNDING = 1e-6


def write_spoiled_version(repository: Path) -> None:
    """The trained weights with two flaws, each of which one element brings to light.

    Fluorine's embedding is not a number, so the answer for a molecule with fluorine is none. The
    card promises xenon, which the network has never heard of, so it fails. No other structure
    touches either; the card's own reference structure does not.
    """
    trained = newest_version("painn_base")
    card = ModelCard.load(trained)
    folder = repository / SPOILED / "1"
    folder.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit", DeprecationWarning)
        module = torch.jit.load(str(trained / MODEL_NAME))
        with torch.no_grad():
            row = card.elements.index(FLUORINE)
            module.state_dict()["network.embedding.weight"][row] = torch.nan
        torch.jit.save(module, str(folder / MODEL_NAME))
    update = {
        "name": SPOILED,
        "version": "1",
        "elements": [*card.elements, XENON],
        "files": {MODEL_NAME: file_digest(folder / MODEL_NAME)},
    }
    card.model_copy(update=update).save(folder)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillableGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    write_spoiled_version(folder / "models")
    # As many as wait are one batch, however long this machine takes for it.
    with killable(folder / "models", folder, FORCEGATE_BATCH_TARGET_S="60") as gateway:
        yield gateway


def chloromethane_with(element: int) -> Atoms:
    atoms = molecule("CH3Cl")
    atoms.numbers[atoms.numbers == CHLORINE] = element
    return atoms


def structures_with(one: Atoms) -> list[Atoms]:
    """All different, and ``one`` among them."""
    structures = [molecule(HEALTHY[k % len(HEALTHY)]) for k in range(SIZE - 1)]
    for k, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=k)
    return [*structures[:PLACE], one, *structures[PLACE:]]


@pytest.fixture(scope="module")
def expected(gateway: KillableGateway) -> list[np.ndarray]:
    """What is answered when a healthy molecule of the same size stands in the bad one's place."""
    with Client(gateway.url) as client:
        found = client.predict(structures_with(molecule("CH3Cl")), SPOILED).predictions
    answers = answers_of(found)
    assert len({answer[0, 0] for answer in answers}) == SIZE
    return answers


def answers_of(found: Predictions) -> list[np.ndarray]:
    """For each structure its energy in the first row (eV), then its forces (eV/Å)."""
    assert found.energy is not None
    assert found.forces is not None
    rows = rows_of(found.n_atoms.tolist())
    return [
        np.vstack([np.full(3, energy), found.forces[row]])
        for energy, row in zip(found.energy, rows, strict=True)
    ]


def assert_close(
    answers: Sequence[np.ndarray], expected: Sequence[np.ndarray], tolerance: float
) -> None:
    for one, other in zip(answers, expected, strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= tolerance


def without_place(items: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [*items[:PLACE], *items[PLACE + 1 :]]


# A failure halves the batch until it is alone; what is not finite only spoils its own rows, and
# then the batch is the same and so is every bit.
POISONS = pytest.mark.parametrize(
    ("element", "code", "tolerance"),
    [(XENON, "prediction_failed", ROUNDING), (FLUORINE, "prediction_not_finite", 0.0)],
)


@POISONS
def test_in_one_request_only_the_structure_that_the_model_cannot_stand_has_a_problem(
    gateway: KillableGateway,
    expected: list[np.ndarray],
    element: int,
    code: str,
    tolerance: float,
) -> None:
    structures = structures_with(chloromethane_with(element))
    process, inference = gateway.process, gateway.inference_pid()
    with Client(gateway.url) as client:
        found = client.predict(structures, SPOILED, on_error="partial").predictions
        assert found.index.tolist() == [k for k in range(SIZE) if k != PLACE]
        assert {k: problem["code"] for k, problem in found.problems.items()} == {PLACE: code}
        assert_close(answers_of(found), without_place(expected), tolerance)
        with pytest.raises(UnprocessableRequest) as refusal:
            client.predict(structures, SPOILED)
        assert (refusal.value.code, refusal.value.structure) == (code, PLACE)
        healthy = client.predict(structures_with(molecule("CH3Cl")), SPOILED).predictions
    assert_close(answers_of(healthy), expected, 0.0)
    assert process.poll() is None
    assert gateway.inference_pid() == inference


@POISONS
def test_of_requests_that_share_a_batch_only_the_one_that_the_model_cannot_stand_is_refused(
    gateway: KillableGateway,
    expected: list[np.ndarray],
    element: int,
    code: str,
    tolerance: float,
) -> None:
    structures = structures_with(chloromethane_with(element))
    before = batches(gateway)
    gateway.freeze()
    # While the first waits for the frozen process, the others become one batch.
    waiting = [gateway.send([molecule("H2O")], SPOILED)]
    gateway.has_taken_in()
    waiting += [gateway.send([atoms], SPOILED) for atoms in structures]
    gateway.has_taken_in()
    gateway.thaw()
    first, *responses = [connection.getresponse() for connection in waiting]
    assert first.status == 200
    assert batches(gateway) - before == pytest.approx([2, 1 + SIZE, 1])

    assert [response.status for response in responses] == [
        422 if k == PLACE else 200 for k in range(SIZE)
    ]
    bodies = [response.read() for response in responses]
    assert json.loads(bodies.pop(PLACE))["code"] == code
    answers = [answers_of(decode_response(body).predictions)[0] for body in bodies]
    assert_close(answers, without_place(expected), tolerance)
    for connection in waiting:
        connection.close()
    with Client(gateway.url) as client:
        again = client.predict(structures_with(molecule("CH3Cl")), SPOILED).predictions
    assert_close(answers_of(again), expected, 0.0)


def batches(gateway: KillableGateway) -> np.ndarray:
    """Batches that were evaluated, structures in them, and batches of 33 to 64 of them."""
    name = "forcegate_batch_structures"
    up_to_64, up_to_32 = (gateway.metric(f"{name}_bucket", le=le) for le in ("64.0", "32.0"))
    counts = [gateway.metric(f"{name}_{what}") for what in ("count", "sum")]
    return np.array([*counts, up_to_64 - up_to_32])
