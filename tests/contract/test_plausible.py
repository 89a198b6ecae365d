"""No number without sense: atoms that are closer than any learned from, and answers beyond all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import molecule

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.graph import Graph
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client
from support.staged import post, staged

pytestmark = pytest.mark.anyio

SULFUR = 16


IMPLAUSIBLE = {
    "an energy": ("energy", -7e29),
    "a large molecule's energy for a small one": ("energy", 100.0),
    "a force": ("forces", 400.0),
    "a pull": ("forces", -1e12),
}


@pytest.mark.parametrize("name", IMPLAUSIBLE)
async def test_an_answer_that_no_structure_has_is_refused_for_that_structure_alone(
    name: str, settings: Settings, water: dict[str, Any]
) -> None:
    column, value = IMPLAUSIBLE[name]

    def spoil(graph: Graph, output: ModelOutput) -> None:
        which = graph.atomic_numbers == SULFUR
        owners = which if column == "forces" else graph.structure_index[which]
        getattr(output, column)[owners] = value

    sulfide = water | {"atomic_numbers": [SULFUR, 1, 1]}
    async with staged(settings) as (client, runtime):
        expected = (await post(client, water)).json()["results"][0]
        runtime.after = spoil
        response = await post(client, water, sulfide, water, on_error="partial")
        refusal = await post(client, water, sulfide)
    first, second, third = response.json()["results"]
    assert first == third == expected
    assert second["problem"]["code"] == refusal.json()["code"] == "prediction_implausible"
    assert (refusal.status_code, refusal.json()["structure"]) == (422, 1)


async def test_what_is_implausible_is_said_by_the_card(
    settings: Settings, repository: Path, water: dict[str, Any]
) -> None:
    async with gateway_client(settings) as client:
        assert (await post(client, water)).status_code == 200
    card = ModelCard.load(repository / "fake" / "1")
    strict = card.limits.model_copy(update={"force": 1e-6})
    card.model_copy(update={"limits": strict}).save(repository / "fake" / "1")
    async with gateway_client(settings) as client:
        refusal = await post(client, water)
    assert refusal.json()["code"] == "prediction_implausible"
    assert "1e-06 eV/Å" in refusal.json()["expected"]


async def test_each_pair_of_elements_has_a_distance_of_its_own(
    settings: Settings, repository: Path
) -> None:
    def pressed(symbols: list[str], *distances: float) -> list[dict[str, Any]]:
        return [{"symbols": symbols, "positions": [[0, 0, 0], [0, 0, d]]} for d in distances]

    card = ModelCard.load(repository / "fake" / "1")
    limits = card.limits.model_copy(update={"minimum_distances": {"F-O": 1.3}})
    card.model_copy(update={"limits": limits}).save(repository / "fake" / "1")
    structures = [
        *pressed(["H", "H"], 0.45, 0.5, 0.74),
        *pressed(["C", "Cl"], 0.55, 0.8, 1.0, 1.2, 1.3, 1.78),
        *pressed(["N", "N"], 0.9, 1.1),
        *pressed(["O", "F"], 1.2, 1.35),
    ]
    async with gateway_client(settings) as client:
        answer = (await post(client, *structures, on_error="partial")).json()["results"]
    codes = [result.get("problem", {}).get("code") for result in answer]
    refused = [index for index, code in enumerate(codes) if code == "atoms_too_close"]
    assert refused == [3, 4, 5, 6, 9, 11]
    assert "C and Cl 1.2 Å" in answer[6]["problem"]["received"]
    remarked = [index for index, result in enumerate(answer) if "apart" in str(result["warnings"])]
    assert remarked == [0, 7, 12]


async def test_an_atom_that_is_bound_to_none_is_remarked_on_unless_it_is_a_halide(
    settings: Settings, repository: Path
) -> None:
    bohr = 1.8897
    water: dict[str, Any] = {
        "symbols": ["O", "H", "H"],
        "positions": [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]],
    }
    chlorine = {
        "symbols": ["Cl", *water["symbols"]],
        "positions": [[0, 3.5, 0], *water["positions"]],
    }
    methane = molecule("CH4").positions

    def as_bohr(structure: dict[str, Any]) -> dict[str, Any]:
        return structure | {"positions": (bohr * np.array(structure["positions"])).tolist()}

    crystal = {
        "symbols": ["C", "H", "H", "H", "H"],
        "positions": (methane + 3.0).tolist(),
        "cell": (6.0 * np.eye(3)).tolist(),
        "pbc": [True, True, True],
    }
    structures = [
        *(water, as_bohr(water), {"symbols": ["C"], "positions": [[0, 0, 0]]}),
        *({"symbols": ["O", "O"], "positions": [[0, 0, 0], [0, 0, 9.0]]}, crystal),
        crystal | {"positions": (bohr * (methane + 3.0)).tolist()},
        chlorine,
    ]
    async with gateway_client(settings) as client:
        answer = (await post(client, *structures, on_error="partial")).json()["results"]
    said = [[text for text in result["warnings"] if "bohr" in text] for result in answer]
    assert [len(texts) for texts in said] == [0, 1, 0, 1, 0, 1, 0]
    assert said[1][0].startswith("atom 0 (O) and 2 more have no neighbor within 1.5 times")
