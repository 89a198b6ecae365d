"""A student in this process answers as a gateway does: numbers, refusals, remarks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from forcegate_client import Client, RemoteCalculator
from forcegate_client.errors import ForcegateError
from forcegate_client.local.calculator import LocalCalculator
from forcegate_client.local.models import LocalModels
from forcegate_client.messages import Predictions
from forcegate_service.contract.card import ModelCard
from forcegate_service.models.promotion import promote
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.engine import CHARGED, NEUTRAL
from support.local_models import STRICT, STUDENT, write_repository

# Both are the engine; a gateway sorts structures into batches of its own.
ATOL = 1e-9


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def client(repository: Path) -> Iterator[Client]:
    settings = Settings(model_repository=repository, runtime="embedded")
    with running_gateway(settings) as url, Client(url) as client:
        yield client


@pytest.fixture(scope="module")
def local(repository: Path) -> LocalModels:
    return LocalModels(repository, threads=1)


def moved(atoms: Atoms, atom: int, by: float) -> Atoms:
    other = atoms.copy()
    other.positions[atom, 0] += by
    return other


def told(atoms: Atoms, **info: Any) -> Atoms:
    other = atoms.copy()
    other.info |= info
    return other


def crystal(atoms: Atoms, cell: Any, pbc: Any = True) -> Atoms:
    other = atoms.copy()
    other.set_cell(cell)
    other.pbc = pbc
    return other


WATER, METHANE = molecule("H2O"), molecule("CH4")
STRUCTURES = {
    "a molecule": molecule("CH3CH2OH"),
    "many atoms": molecule("C60"),
    "a crystal": crystal(molecule("CH3OH"), [5.1, 5.5, 6.0]),
    "a slab": crystal(molecule("CH3OH"), [5.1, 5.5, 0.0], (1, 1, 0)),
    "a radical": molecule("CH3"),
    "no hydrogen": Atoms("C4", [[0, 0, 0], [1.3, 0, 0], [2.6, 0, 0], [3.9, 0, 0]]),
    "diamond": bulk("C", "diamond", a=3.57),
    "a stranger": molecule("AlCl3"),
    "no element": Atoms([0, 1], [[0, 0, 0], [1, 0, 0]]),
    "no atoms": Atoms(),
    "not a number": moved(WATER, 0, np.nan),
    "far away": moved(WATER, 0, 1e7),
    "on top of each other": Atoms("HH", np.zeros((2, 3))),
    "too close": moved(METHANE, 1, -0.25),
    "hardly farther": Atoms("C2H2", [[0, 0, 0], [1.12, 0, 0], [-1.0, 0, 0], [2.12, 0, 0]]),
    "its own image": crystal(WATER, [0.9, 9.0, 9.0]),
    "no cell": crystal(WATER, np.zeros((3, 3))),
    "a flat cell": crystal(WATER, [[9.0, 0, 0], [9.0, 1e-6, 0], [0, 0, 9.0]]),
    "an anion": told(molecule("H2O"), charge=-1),
    "an ammonium": told(molecule("NH3"), charge=1),
    "a triplet": told(molecule("O2"), multiplicity=3),
    "a charge that is none": told(WATER, charge="much"),
    "a lone atom": Atoms("O"),
}


def outcome(potential: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return potential.predict(*arguments, **options)
    except ForcegateError as error:
        return error


def assert_same_columns(one: Predictions, other: Predictions) -> None:
    for name in ("energy", "forces", "stress", "energy_uncertainty", "max_novelty", "charges",
                 "net_charge", "dipole", "force_uncertainty"):  # fmt: skip
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None) == (theirs is None), name
        if mine is not None:
            size = 1.0 + float(np.abs(theirs).max(initial=0.0))
            np.testing.assert_allclose(mine, theirs, rtol=0.0, atol=ATOL * size, err_msg=name)


@pytest.mark.parametrize("model", [STUDENT, CHARGED, NEUTRAL, STRICT])
@pytest.mark.parametrize("name", STRUCTURES)
def test_each_structure_has_the_answer_or_the_refusal_of_the_gateway(
    client: Client, local: LocalModels, model: str, name: str
) -> None:
    properties = ["energy", "forces", "uncertainty"]
    theirs, mine = (
        outcome(potential, STRUCTURES[name], model, None, properties)
        for potential in (client, local)
    )
    assert type(mine) is type(theirs)
    if isinstance(mine, ForcegateError):
        assert mine.to_problem() == theirs.to_problem()
        return
    assert (mine.digest, mine.card_digest) == (theirs.digest, theirs.card_digest)
    assert (mine.model, mine.version, mine.status) == (theirs.model, theirs.version, theirs.status)
    assert mine.predictions.warnings == theirs.predictions.warnings
    assert_same_columns(mine.predictions, theirs.predictions)


@pytest.mark.parametrize("model", [STUDENT, CHARGED, NEUTRAL, STRICT])
def test_among_many_each_bad_structure_fails_alone(
    client: Client, local: LocalModels, model: str
) -> None:
    structures = list(STRUCTURES.values())
    properties = ["energy", "forces", "uncertainty"]
    theirs, mine = (
        potential.predict(structures, model, properties=properties, on_error="partial").predictions
        for potential in (client, local)
    )
    assert 5 < len(mine.problems) < len(structures) - 4
    assert mine.index.tolist() == theirs.index.tolist()
    # How a heap of atoms is put into words depends on what else a gateway is asked about.
    assert _codes(mine) == _codes(theirs)
    assert mine.warnings == theirs.warnings
    assert_same_columns(mine, theirs)


def _codes(found: Predictions) -> dict[int, tuple[str, int]]:
    return {b: (told["code"], told["structure"]) for b, told in found.problems.items()}


@pytest.mark.parametrize(
    ("model", "properties"),
    [
        (STUDENT, ["energy", "stress"]),
        (STUDENT, ["charges"]),
        (NEUTRAL, ["charges"]),
        (STUDENT, ["polarizability"]),
        (STUDENT, []),
        (STUDENT, ["force_uncertainty"]),
        (STRICT, ["forces", "force_uncertainty"]),
        (CHARGED, ["charges", "dipole"]),
        (CHARGED, ["energy", "forces", "stress", "uncertainty", "charges"]),
    ],
)
@pytest.mark.parametrize("name", ["a molecule", "a crystal", "a slab"])
def test_each_property_is_answered_or_refused_alike(
    client: Client, local: LocalModels, model: str, properties: list[str], name: str
) -> None:
    theirs, mine = (
        outcome(potential, STRUCTURES[name], model, None, properties)
        for potential in (client, local)
    )
    assert type(mine) is type(theirs)
    if isinstance(mine, ForcegateError):
        assert (mine.code, mine.received) == (theirs.code, theirs.received)
    else:
        assert_same_columns(mine.predictions, theirs.predictions)


def test_what_is_not_there_is_refused_with_what_there_is(
    client: Client, local: LocalModels, repository: Path
) -> None:
    for model, version in (("painn_huge", None), (CHARGED, "9"), ("default", None)):
        theirs, mine = (outcome(potential, WATER, model, version) for potential in (client, local))
        assert type(mine) is type(theirs)
        assert (mine.code, mine.received) == (theirs.code, theirs.received)
        assert mine.expected.startswith(theirs.expected)


def test_models_and_cards_are_those_that_the_gateway_shows(
    client: Client, local: LocalModels
) -> None:
    theirs = {entry["name"]: entry for entry in client.models()}
    for entry in local.models():
        assert entry.items() <= theirs.pop(entry["name"]).items()
    assert not theirs
    shown, card = client.model(STRICT), local.model(STRICT)
    assert card.items() <= shown.items()


def test_the_version_that_was_promoted_answers(repository: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(repository / STUDENT, models / STUDENT)
    first = next((models / STUDENT).glob("[1-9]*"))
    card = ModelCard.load(first)
    newer = str(int(card.version) + 1)
    shutil.copytree(first, models / STUDENT / newer)
    card.model_copy(update={"version": newer}).save(models / STUDENT / newer)
    assert LocalModels(models).predict(WATER, STUDENT).version == newer
    promote(models, STUDENT, card.version)
    assert LocalModels(models).predict(WATER, STUDENT).version == card.version
    unfit = dict.fromkeys(card.status, "not_validated")
    for version in (card.version, newer):
        folder = models / STUDENT / version
        ModelCard.load(folder).model_copy(update={"status": unfit}).save(folder)
    (models / STUDENT / "default.json").unlink()
    refused = outcome(LocalModels(models), WATER, STUDENT)
    assert refused.code == "no_default_version"
    assert LocalModels(models).predict(WATER, STUDENT, newer).version == newer


def test_a_model_is_named_by_its_folder_too(repository: Path) -> None:
    folder = next((repository / STUDENT).glob("[1-9]*"))
    by_path = LocalModels("/nowhere")
    answer = by_path.predict(WATER, str(folder))
    assert answer.model == STUDENT
    assert by_path.model(answer.model, answer.version)["name"] == STUDENT
    assert outcome(by_path, WATER, str(folder), "77").code == "version_not_found"
    assert outcome(by_path, WATER, str(repository / STUDENT)).code == "model_refused"
    assert outcome(by_path, WATER, "anything").code == "model_refused"


@pytest.mark.parametrize("model", [STUDENT, CHARGED])
def test_the_calculator_has_what_that_of_a_server_has(
    client: Client, local: LocalModels, model: str
) -> None:
    results = []
    for calculator in (
        RemoteCalculator(client=client, model=model, uncertainty=True),
        LocalCalculator(model, local=local, uncertainty=True),
    ):
        atoms = STRUCTURES["a crystal"].copy()
        atoms.calc = calculator
        atoms.get_stress()
        assert calculator.max_novelty is not None
        results.append(calculator.results)
        atoms.info["multiplicity"] = 3
        with pytest.raises(ForcegateError, match="multiplicity 3"):
            atoms.get_forces()
    theirs, mine = results
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        np.testing.assert_allclose(value, theirs[name], atol=ATOL * 10, err_msg=name)


def test_weights_that_are_not_those_of_the_card_are_refused(
    repository: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "1"
    shutil.copytree(next((repository / STUDENT).glob("[1-9]*")), folder)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(content))
    refused = outcome(LocalModels(), WATER, str(folder))
    assert refused.code == "model_refused"
    assert "its card says" in refused.received
    (folder / "model.safetensors").unlink()
    assert "export-weights" in outcome(LocalModels(), WATER, str(folder)).received
    (folder / "model_card.json").write_text("{}")
    assert outcome(LocalModels(), WATER, str(folder)).code == "model_refused"
