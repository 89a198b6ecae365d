"""``RemoteCalculator`` is an ASE calculator like any other, at one round trip a step."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import LBFGS

from forcegate_client import Client, RemoteCalculator
from forcegate_client.errors import DigestChanged, InvalidStructure
from forcegate_client.testing import FakeServer

FINITE_DIFFERENCE = {"rel": 1e-6, "abs": 1e-6}


def attach(server: FakeServer, atoms: Atoms, **options: object) -> RemoteCalculator:
    calculator = RemoteCalculator(client=Client(transport=server.transport), **options)  # type: ignore[arg-type]
    atoms.calc = calculator
    return calculator


def test_energy_and_forces_of_a_step_cost_one_request() -> None:
    server, atoms = FakeServer(), molecule("CH4")
    attach(server, atoms)
    atoms.get_potential_energy()
    atoms.get_potential_energy(force_consistent=True)
    atoms.get_forces()
    assert len(server.requests) == 1
    atoms.rattle(0.01)
    atoms.get_forces()
    atoms.get_potential_energy()
    assert len(server.requests) == 2


def test_forces_are_the_gradient_of_the_energy() -> None:
    atoms = molecule("CH3OH")
    attach(FakeServer(), atoms)
    expected = calculate_numerical_forces(atoms, eps=1e-4)
    assert atoms.get_forces() == pytest.approx(expected, **FINITE_DIFFERENCE)


def test_stress_has_the_sign_and_order_of_ase() -> None:
    # The springs know no images, so the lattice is one the cell strain acts on through positions.
    atoms = molecule("CH4")
    atoms.set_cell([[8.0, 0, 0], [1.0, 9.0, 0], [0.5, 0.7, 10.0]])
    atoms.pbc = True
    server = FakeServer()
    attach(server, atoms)
    expected = calculate_numerical_stress(atoms, eps=1e-5)
    server.requests.clear()
    atoms.rattle(1e-9)
    atoms.get_forces()
    assert atoms.get_stress() == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert len(server.requests) == 1


@pytest.mark.parametrize("pbc", [False, (True, True, False)])
def test_stress_without_full_periodicity_is_an_error_not_zeros(pbc: object) -> None:
    atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.2]], cell=[5, 5, 5], pbc=pbc)
    server = FakeServer()
    attach(server, atoms)
    atoms.get_forces()
    with pytest.raises(PropertyNotImplementedError, match="three periodic axes"):
        atoms.get_stress()
    assert "stress" not in server.predictions[0].properties


def test_changes_of_numbers_cell_and_charge_are_noticed() -> None:
    server = FakeServer(elements=frozenset(range(1, 100)))
    atoms = bulk("Cu") * (2, 1, 1)
    attach(server, atoms)
    atoms.get_potential_energy()
    changes = [
        lambda: atoms.set_cell(atoms.cell * 1.01, scale_atoms=False),
        lambda: atoms.set_pbc((True, True, False)),
        lambda: atoms.numbers.__setitem__(0, 28),
        lambda: atoms.info.update(charge=1),
        lambda: atoms.info.update(multiplicity=2),
    ]
    for count, change in enumerate(changes, start=2):
        change()
        atoms.get_potential_energy()
        assert len(server.requests) == count
    assert server.predictions[-1].structures.charges.tolist() == [1]
    assert server.predictions[-1].structures.multiplicities.tolist() == [2]


def test_every_step_sends_what_a_new_calculator_would_send() -> None:
    server, atoms = FakeServer(elements=frozenset(range(1, 100))), bulk("Cu", cubic=True)
    calculator = attach(server, atoms)
    changes = [
        lambda: None,
        lambda: atoms.rattle(0.01),
        lambda: atoms.set_pbc((True, False, True)),
        lambda: atoms.rattle(0.01, seed=1),
        lambda: atoms.numbers.__setitem__(0, 28),
        lambda: atoms.set_cell(atoms.cell * 1.01, scale_atoms=True),
        lambda: atoms.append("Zn"),
        lambda: atoms.rattle(0.01, seed=2),
        lambda: (atoms.rattle(0.01, seed=3), atoms.info.update(charge=1)),
    ]
    for change in changes:
        change()
        atoms.get_forces()
        sent = server.requests[-1].content
        calculator.client.predict(
            atoms,
            calculator.model,
            server.predictions[-1].version,
            server.predictions[-1].properties,
        )
        assert server.requests[-1].content == sent


def test_a_step_that_failed_does_not_lend_its_predecessors_elements_to_the_next() -> None:
    server, atoms = FakeServer(elements=frozenset(range(1, 100))), molecule("CO")
    attach(server, atoms)
    atoms.get_forces()
    atoms.numbers[0] = 14
    atoms.info["charge"] = "none"
    with pytest.raises(InvalidStructure, match="none"):
        atoms.get_forces()
    atoms.info["charge"] = 0
    atoms.get_forces()
    sent = server.predictions[-1].structures
    assert sent.atomic_numbers.tolist() == atoms.numbers.tolist()


def test_the_smallest_move_is_a_new_calculation_and_none_is_not() -> None:
    server, atoms = FakeServer(), molecule("H2O")
    calculator = attach(server, atoms)
    atoms.get_forces()
    assert calculator.check_state(atoms.copy()) == []
    atoms.positions[0, 2] = np.nextafter(atoms.positions[0, 2], 1.0)
    assert calculator.check_state(atoms) == ["positions"]
    atoms.get_forces()
    assert len(server.requests) == 2


def test_what_was_calculated_is_not_changed_by_later_steps() -> None:
    atoms = molecule("H2O")
    calculator = attach(FakeServer(), atoms)
    atoms.get_forces()
    calculated, positions = calculator.atoms, atoms.positions.copy()
    atoms.rattle(0.1)
    atoms.get_forces()
    assert np.array_equal(calculated.positions, positions)


def test_an_unpinned_model_stays_with_the_version_that_answered_first() -> None:
    server, atoms = FakeServer(digests={"1": "sha256:one", "2": "sha256:two"}), molecule("CH4")
    calculator = attach(server, atoms)
    atoms.get_forces()
    server.version = "2"
    atoms.rattle(0.01)
    atoms.get_forces()
    assert [asked.version for asked in server.predictions] == [None, "1"]
    assert (calculator.version, calculator.digest) == ("1", "sha256:one")


def test_other_weights_in_mid_run_are_an_error() -> None:
    server, atoms = FakeServer(), molecule("CH4")
    attach(server, atoms)
    atoms.get_forces()
    server.digests["1"] = "sha256:other"
    atoms.rattle(0.01)
    with pytest.raises(DigestChanged, match="sha256:other"):
        atoms.get_forces()


def test_a_digest_can_be_demanded_from_the_start() -> None:
    atoms = molecule("CH4")
    attach(FakeServer(), atoms, digest="sha256:published")
    with pytest.raises(DigestChanged, match="sha256:published"):
        atoms.get_forces()


def test_a_failed_step_leaves_no_stale_result_behind() -> None:
    server, atoms = FakeServer(), molecule("CH4")
    calculator = attach(server, atoms)
    atoms.get_forces()
    atoms.numbers[0] = 14
    for _ in range(2):
        with pytest.raises(InvalidStructure, match="element 14"):
            atoms.get_potential_energy()
    assert "energy" not in calculator.results


def test_uncertainty_and_novelty_are_given_when_asked_for() -> None:
    atoms = molecule("CH4")
    calculator = attach(FakeServer(), atoms, uncertainty=True)
    atoms.get_potential_energy()
    assert calculator.energy_uncertainty == 0.01
    assert calculator.max_novelty == 1.5
    atoms.numbers[0] = 26
    with pytest.raises(InvalidStructure):
        atoms.get_potential_energy()
    assert (calculator.energy_uncertainty, calculator.max_novelty) == (None, None)


@pytest.mark.parametrize("uncertainty", [False, True])
def test_results_can_be_frozen_as_those_of_any_calculator(uncertainty: bool) -> None:
    atoms = molecule("CH4")
    calculator = attach(FakeServer(), atoms, uncertainty=uncertainty)
    energy = atoms.get_potential_energy()
    atoms.calc = SinglePointCalculator(atoms, **calculator.results)
    assert atoms.get_potential_energy() == energy


def test_a_warning_of_the_server_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    server, atoms = FakeServer(warnings=["an odd number of electrons"]), molecule("CH4")
    attach(server, atoms)
    with caplog.at_level(logging.WARNING, "forcegate"):
        for _ in range(3):
            atoms.rattle(0.01)
            atoms.get_forces()
    assert [record.message for record in caplog.records] == [
        "painn_base 1: an odd number of electrons"
    ]


def test_the_approval_of_the_model_can_be_read() -> None:
    atoms = molecule("CH4")
    calculator = attach(FakeServer(), atoms)
    atoms.get_forces()
    assert calculator.approval["md"] == "approved"


def test_an_optimiser_reaches_the_minimum_of_the_springs() -> None:
    atoms = molecule("H2O")
    attach(FakeServer(), atoms)
    assert LBFGS(atoms, logfile=None).run(fmax=1e-4, steps=100)
    assert atoms.get_all_distances()[np.triu_indices(3, 1)] == pytest.approx([1.5] * 3, abs=1e-4)


def test_forces_can_be_changed_by_the_caller_without_spoiling_the_cache() -> None:
    atoms = molecule("H2O")
    attach(FakeServer(), atoms)
    before = atoms.get_forces()
    atoms.get_forces()[:] = 0.0
    assert np.array_equal(atoms.get_forces(), before)


def test_a_model_that_validation_rejected_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer(approval={"md": "rejected", "relax": "caution", "screening": "approved"})
    atoms = molecule("CH4")
    calculator = attach(server, atoms)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            atoms.rattle(0.01)
            atoms.get_forces()
    assert calculator.approval["md"] == "rejected"
    (told,) = caplog.messages
    assert "rejected this model for md;" in told


def test_a_model_that_is_approved_is_used_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    atoms = molecule("CH4")
    attach(FakeServer(approval={"md": "approved", "relax": "caution"}), atoms)
    with caplog.at_level(logging.WARNING):
        atoms.get_forces()
    assert not caplog.messages
