"""How wrong forces are is told by a second student, and by nobody where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forcegate_client.force_uncertainty import disagreement
from forcegate_service.api.app import create_app
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.force_uncertainty import ForcePartner
from forcegate_service.contract.graph import Graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import in_process
from support.staged import StagedRuntime, post, stretched

pytestmark = pytest.mark.anyio

SCALE, FLOOR = 2.0, 0.01
ASKED = {"properties": ["forces", "force_uncertainty"]}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Version 1 of the toy, whose partner is ``other``."""
    models = tmp_path / "models"
    other = write_fake_model(models, name="other")
    card = write_fake_model(models)
    partner = ForcePartner(name="other", version="1", digest=other.digest, scale=SCALE, floor=FLOOR)
    card.model_copy(update={"force_partner": partner}).save(models / "fake" / "1")
    return models


def pull(graph: Graph, output: ModelOutput) -> None:
    """The partner disagrees about sulfur."""
    output.forces[graph.atomic_numbers == 16, 0] += 0.3


async def asked(settings: Settings, spoil: Any, *structures: Any, **options: Any) -> Any:
    """The answer; among its ``extensions`` is how many batches were ``evaluated`` for it."""
    loaded: list[StagedRuntime] = []

    def load(folder: Path) -> StagedRuntime:
        runtime = StagedRuntime(folder)
        loaded.append(runtime)
        if folder.parent.name == "other":
            runtime.after = spoil
        return runtime

    async with in_process(create_app(settings, load_runtime=load)) as (client, gateway):
        assert gateway.loading is not None
        await gateway.loading
        before = sum(len(runtime.batches) for runtime in loaded)
        answer = await post(client, *structures, **(ASKED | options))
        evaluated = sum(len(runtime.batches) for runtime in loaded) - before
        answer.extensions["evaluated"] = evaluated
        return answer


async def test_where_two_students_agree_the_floor_is_left(
    settings: Settings, water: dict[str, Any]
) -> None:
    answer = await asked(settings, lambda graph, output: None, water, stretched(water, 3))
    assert answer.json()["units"]["force_uncertainty"] == "eV/Å"
    for result in answer.json()["results"]:
        assert result["force_uncertainty"] == pytest.approx([FLOOR] * 3)


async def test_where_they_disagree_an_atom_and_its_structure_are_less_certain(
    settings: Settings, water: dict[str, Any]
) -> None:
    hydrogen = {"atomic_numbers": [1, 1], "positions": [[0, 0, 0], [0, 0, 0.75]]}
    sulfide = water | {"atomic_numbers": [16, 1, 1]}
    answer = await asked(settings, pull, hydrogen, sulfide)
    sure, unsure = (np.array(r["force_uncertainty"]) for r in answer.json()["results"])
    assert sure == pytest.approx([FLOOR] * 2)
    assert unsure[0] > unsure[1] == unsure[2] > 3 * FLOOR
    differences = np.zeros((3, 3))
    differences[0, 0] = 0.3
    expected = np.hypot(SCALE * disagreement(differences, 0 * differences, np.array([3])), FLOOR)
    np.testing.assert_allclose(unsure, expected, rtol=1e-9)


async def test_a_partner_that_fails_costs_no_other_structure(
    settings: Settings, water: dict[str, Any]
) -> None:
    def spoil(graph: Graph, output: ModelOutput) -> None:
        owners = graph.structure_index[graph.atomic_numbers == 16]
        output.forces[np.isin(graph.structure_index, owners)] = np.nan

    sulfide = water | {"atomic_numbers": [16, 1, 1]}
    answer = await asked(settings, spoil, water, sulfide, water, on_error="partial")
    first, failed, last = answer.json()["results"]
    assert first == last
    assert failed["problem"]["code"] == "prediction_not_finite"
    assert "partner" in failed["problem"]["detail"]


@pytest.mark.parametrize("change", ["no partner", "other weights", "not served"])
async def test_without_the_partner_there_is_no_number(
    change: str, settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    folder = repository / "fake" / "1"
    if change == "no partner":
        ModelCard.load(folder).model_copy(update={"force_partner": None}).save(folder)
    elif change == "other weights":
        named = ModelCard.load(folder).force_partner
        assert named is not None
        another = named.model_copy(update={"digest": "sha256:" + 64 * "0"})
        ModelCard.load(folder).model_copy(update={"force_partner": another}).save(folder)
    else:
        (repository / "other").rename(repository.parent / "elsewhere")
    answer = await asked(settings, lambda graph, output: None, water)
    assert (answer.status_code, answer.json()["code"]) == (422, "property_unsupported")
    assert "force_uncertainty" in answer.json()["detail"]
    # Nobody's time was spent on what could not be answered.
    assert answer.extensions["evaluated"] == 0
