"""Old results never stand beside new ones, and never in their place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from forcegate_client import Client, RemoteCalculator
from forcegate_client.md.nve import snapshot
from forcegate_client.relaxation import evaluator, relax_batched
from forcegate_client.results import forget_results, with_results
from forcegate_client.testing import FakeServer

OLD = -1234.5


def with_a_past() -> Atoms:
    """Carries results of earlier work wherever ASE and forcegate leave them."""
    atoms = molecule("H2O")
    size = len(atoms)
    for name in all_properties:
        atoms.info[name] = OLD
    for name in ("forces", "charges", "magmoms", "energies", "stresses"):
        del atoms.info[name]
        atoms.set_array(name, np.full((size, 3) if name == "forces" else size, OLD))
    for name in ("forcegate_problem", "forcegate_warning", "energy_uncertainty", "max_novelty"):
        atoms.info[name] = "old"
    atoms.info |= {"name": "water", "charge": 0}
    atoms.set_array("site", np.arange(size))
    atoms.set_masses([18.0, 2.0, 2.0])
    atoms.calc = SinglePointCalculator(atoms, energy=OLD)
    return atoms


def test_what_is_no_result_stays() -> None:
    atoms = with_a_past()
    forget_results(atoms)
    assert atoms.info == {"name": "water", "charge": 0}
    assert sorted(atoms.arrays) == ["masses", "numbers", "positions", "site"]
    assert atoms.calc is None


def test_a_calculator_that_computes_is_no_result() -> None:
    atoms = molecule("H2O")
    atoms.calc = RemoteCalculator("http://gateway")
    forget_results(atoms)
    assert isinstance(atoms.calc, RemoteCalculator)


def relaxed(atoms: Atoms) -> Atoms:
    client = Client("http://gateway", transport=FakeServer().transport)
    (one,) = relax_batched([atoms], evaluator(client, "springs"), fmax=10.0)
    return one.atoms


def photographed(atoms: Atoms) -> Atoms:
    client = Client("http://gateway", transport=FakeServer().transport)
    atoms.calc = RemoteCalculator(client=client)
    return snapshot(atoms)


@pytest.mark.parametrize("name", ["a.extxyz", "a.traj", "a.json"])
@pytest.mark.parametrize(
    "road", [relaxed, photographed, lambda atoms: with_results(atoms, -1.0, np.ones((3, 3)))]
)
def test_what_is_written_is_the_new_result_under_both_names_of_the_energy(
    tmp_path: Path, road: Callable[[Atoms], Atoms], name: str
) -> None:
    given = with_a_past()
    new = road(given)
    write(tmp_path / name, new)
    found = read(tmp_path / name)
    assert found.get_potential_energy() == pytest.approx(new.get_potential_energy())
    assert found.get_potential_energy() != OLD
    assert found.get_potential_energy(force_consistent=True) == found.get_potential_energy()
    assert not (found.arrays["positions"] == OLD).any()
    assert not any(str(key).startswith("forcegate_") for key in found.info)
    assert not {OLD, "old"} & {v for v in found.info.values() if isinstance(v, float | str)}
    assert given.info["energy"] == OLD


def test_a_structure_that_fails_now_has_no_energy_of_yesterday() -> None:
    client = Client("http://gateway", transport=FakeServer().transport)
    bad, unreadable = with_a_past(), with_a_past()
    bad.numbers[0] = 26
    unreadable.info["charge"] = "anion"
    done = list(relax_batched([bad, unreadable], evaluator(client, "springs")))
    assert {one.problem and one.problem["code"] for one in done} == {
        "element_unsupported",
        "charge_invalid",
    }
    for one in done:
        assert one.atoms.calc is None
        assert not {"energy", "free_energy", "forcegate_warning"} & one.atoms.info.keys()
