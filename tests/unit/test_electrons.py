"""Charge and spin are read under every name they go by, or refused by name; never overlooked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st

from forcegate_client import Client, RemoteCalculator
from forcegate_client.electrons import electrons_of
from forcegate_client.errors import InvalidStructure
from forcegate_client.relaxation import evaluator, relax_batched
from forcegate_client.structures import StructureBatch
from forcegate_client.testing import FakeServer


def water(**info: Any) -> Atoms:
    atoms = molecule("H2O")
    atoms.info.update(info)
    return atoms


def with_array(name: str, values: Any, **info: Any) -> Atoms:
    atoms = water(**info)
    atoms.set_array(name, np.asarray(values))
    return atoms


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (water(), (0, 1)),
        (water(note="charge"), (0, 1)),
        (water(charge=-1), (-1, 1)),
        (water(Charge=2), (2, 1)),
        (water(total_charge=2.0), (2, 1)),
        (water(**{"Total Charge": "+1"}), (1, 1)),
        (water(charge=np.int32(1), total_charge=np.array([1])), (1, 1)),
        (water(charge=None), (0, 1)),
        (water(qtot=1), (1, 1)),
        (water(charge="2-"), (-2, 1)),
        (water(charge="(−1)"), (-1, 1)),
        (water(charge="+1e"), (1, 1)),
        (water(q=-1), (-1, 1)),
        (water(q=0.35), (0, 1)),
        (water(chrg="1"), (1, 1)),
        (water(TOTAL_CHARGE=-1, SPIN=2), (-1, 2)),
        (with_array("formal_charges", [1, 0, 0]), (1, 1)),
        (with_array("charges", [1.0, 0.0, 0.0]), (0, 1)),
        (water(multiplicity=3), (0, 3)),
        (water(Spin_Multiplicity="3"), (0, 3)),
        (water(unpaired_electrons=2), (0, 3)),
        # Ten electrons: only 2S may be even, only 2S + 1 odd.
        (water(spin=0), (0, 1)),
        (water(spin=1), (0, 1)),
        (water(spin=2), (0, 3)),
        (water(SPIN=3), (0, 3)),
        # Nine of them.
        (water(charge=1, spin=1), (1, 2)),
        (water(charge=1, spin=2), (1, 2)),
        (with_array("initial_charges", [2 / 3] * 3), (2, 1)),
        (with_array("initial_charges", [-0.8, 0.4, 0.4]), (0, 1)),
        (with_array("initial_charges", [-0.79, 0.4, 0.4]), (0, 1)),
        (with_array("initial_charges", [0.0] * 3, charge=1), (1, 1)),
        (with_array("initial_charges", [0.3, 0.3, 0.3], charge=1), (1, 1)),
        (with_array("initial_magmoms", [2.0, 0.0, 0.0]), (0, 3)),
        (with_array("initial_magmoms", [-1.0, 0.0, 0.0], multiplicity=2), (0, 2)),
        (with_array("initial_magmoms", [1.0, -1.0, 0.0]), (0, 1)),
        (with_array("initial_magmoms", np.eye(3)[[2, 2, 2]]), (0, 4)),
    ],
)
def test_every_way_to_say_it_is_understood(atoms: Atoms, expected: tuple[int, int]) -> None:
    assert electrons_of(atoms) == expected


@pytest.mark.parametrize(
    ("atoms", "named"),
    [
        (water(charge=0.9), "charge=0.9"),
        (water(charge=np.float64(0.5)), "charge=0.5;"),
        (water(charge="cation"), "cation"),
        (water(Charge=True), "Charge=True"),
        (water(charge=float("nan")), "nan"),
        (water(charge=10**400), "charge="),
        (water(charge=[1, 2]), "charge="),
        (water(charge={}), "charge="),
        (water(charge=np.array([1, 2])), "charge="),
        (water(charge=0, total_charge=1), "charge=0 and total_charge=1"),
        (water(charge=0, q=1), "charge=0 and q=1"),
        (water(charge="-"), "charge='-'"),
        (water(multiplicity=0), "multiplicity=0"),
        (water(multiplicity=1.5), "multiplicity=1.5"),
        (water(spin=-2), "spin=-2"),
        (water(spin="doublet"), "doublet"),
        (water(multiplicity=1, spin=3), "spin=3"),
        (with_array("initial_charges", [0.3, 0.0, 0.0]), "initial_charges that add up to 0.3"),
        (with_array("initial_charges", [1.0, 1.0, 0.0], charge=0), "add up to 2"),
        (with_array("initial_magmoms", [2.0, 0.0, 0.0], multiplicity=1), "add up to 2"),
        (with_array("initial_magmoms", [np.nan, 0.0, 0.0]), "initial_magmoms"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(atoms: Atoms, named: str) -> None:
    with pytest.raises(InvalidStructure, match=named.replace("(", r"\(")) as caught:
        electrons_of(atoms)
    assert caught.value.code.startswith(("charge_", "multiplicity_"))


@given(
    key=st.sampled_from(["charge", "CHARGE", "Total_Charge", "net charge", "formalCharge"]),
    value=st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.booleans()),
)
def test_no_value_of_a_charge_becomes_neutral_in_silence(key: str, value: Any) -> None:
    atoms = water(**{key: value})
    refused = None
    charge = 0
    try:
        charge, _ = electrons_of(atoms)
    except InvalidStructure as error:
        refused = str(error)
    if isinstance(value, str) and refused is None:
        value = re.sub(r"^(\d+)([+-])$", r"\2\1", re.sub(r"[−–﹣－]", "-", value).strip(" e()[]"))
    assert key in refused if refused is not None else charge == float(value)


def client_of(server: FakeServer) -> Client:
    return Client("http://gateway", transport=server.transport)


def test_one_unreadable_charge_among_three_structures_is_its_own_problem() -> None:
    server = FakeServer()
    frames = [water(), water(charge="cation"), water(Charge=1)]
    response = client_of(server).predict(frames, on_error="partial", ids=["a", "b", "c"])
    found = response.predictions
    assert found.index.tolist() == [0, 2]
    assert [found.problems[1][name] for name in ("code", "structure")] == ["charge_invalid", 1]
    assert (server.predictions[0].structures.charges.tolist(), server.predictions[0].ids) == (
        [0, 1],
        ("a", "c"),
    )


def test_problems_of_the_server_keep_their_places_beside_unreadable_charges() -> None:
    iron = Atoms("Fe")
    frames = [water(charge=0.5), iron, water(), water(spin="x")]
    found = client_of(FakeServer()).predict(frames, on_error="partial").predictions
    assert {b: (p["code"], p["structure"]) for b, p in found.problems.items()} == {
        0: ("charge_invalid", 0),
        1: ("element_unsupported", 1),
        3: ("multiplicity_invalid", 3),
    }
    assert found.index.tolist() == [2]


def test_where_no_charge_can_be_read_every_structure_has_its_problem() -> None:
    response = client_of(FakeServer()).predict([water(charge="a")] * 2, on_error="partial")
    assert list(response.predictions.problems) == [0, 1]
    assert response.version == "1"


def test_a_whole_request_is_refused_for_one_unreadable_charge() -> None:
    server = FakeServer()
    with pytest.raises(InvalidStructure, match="structure 1: charge='cation'"):
        client_of(server).predict([water(), water(charge="cation")])
    assert server.requests == []


@pytest.mark.parametrize(
    ("change", "sent"),
    [
        (lambda atoms: atoms.info.update(Charge=1), (1, 1)),
        (lambda atoms: atoms.set_initial_charges([0.5, 0.5, 1.0]), (2, 1)),
        (lambda atoms: atoms.set_initial_magnetic_moments([2, 0, 0]), (0, 3)),
    ],
)
def test_a_calculator_asks_for_the_charge_that_the_structure_has_now(
    change: Callable[[Atoms], None], sent: tuple[int, int]
) -> None:
    server, atoms = FakeServer(), water()
    atoms.calc = RemoteCalculator(client=client_of(server))
    atoms.get_forces()
    change(atoms)
    atoms.get_forces()
    batch = server.predictions[-1].structures
    assert (batch.charges.tolist(), batch.multiplicities.tolist()) == ([sent[0]], [sent[1]])


def test_a_calculator_refuses_a_charge_that_it_cannot_read_also_after_a_good_step() -> None:
    atoms = water()
    atoms.calc = RemoteCalculator(client=client_of(FakeServer()))
    atoms.get_potential_energy()
    atoms.info["total_charge"] = 0.9
    with pytest.raises(InvalidStructure, match=r"total_charge=0\.9"):
        atoms.get_potential_energy()


def test_a_batched_relaxation_keeps_charges_and_fails_unreadable_ones_alone() -> None:
    server = FakeServer()
    frames = [water(charge=-1), water(charge="anion"), water()]
    done = {
        one.index: one
        for one in relax_batched(frames, evaluator(client_of(server), "springs"), max_steps=2)
    }
    assert sorted(done) == [0, 1, 2]
    assert done[1].problem is not None
    assert done[1].problem["code"] == "charge_invalid"
    sent = {charge for asked in server.predictions for charge in asked.structures.charges.tolist()}
    assert sent == {-1, 0}
    assert done[0].atoms.info["charge"] == -1


def test_a_batch_that_becomes_structures_and_back_keeps_its_charges() -> None:
    batch = StructureBatch.from_atoms([water(charge=-1), water(), water(spin=3)])
    again = StructureBatch.from_atoms(batch.to_atoms())
    assert again.charges.tolist() == [-1, 0, 0]
    assert again.multiplicities.tolist() == [1, 1, 3]
    assert batch.to_atoms()[1].info == {}
