"""Images that are asked about together: ASE's numbers, at one request an iteration."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.constraints import FixAtoms
from ase.mep import NEB
from ase.optimize import FIRE

from forcegate_client import Client, LocalCalculator, RemoteCalculator
from forcegate_client.errors import DigestChanged, InvalidStructure
from forcegate_client.images.neb import BatchedNEB
from forcegate_client.images.together import evaluate_together
from forcegate_client.testing import FakeServer

# Rounding of sums that BLAS forms in another order.
SAME_EV = 1e-9


def asking(server: FakeServer, **options: object) -> RemoteCalculator:
    return RemoteCalculator(client=Client(transport=server.transport), **options)  # type: ignore[arg-type]


def path(images: int, *, held: bool = False) -> list[Atoms]:
    """From one methanol to its mirror image, through a bent one."""
    first = molecule("CH3OH")
    if held:
        first.set_constraint(FixAtoms([0]))
    last = first.copy()
    last.rattle(0.2, seed=1)
    return [first, *(first.copy() for _ in range(images - 2)), last]


def test_results_of_many_images_are_those_of_one_at_a_time_in_one_request() -> None:
    server = FakeServer()
    calculator = asking(server)
    images = [molecule("CH4"), molecule("H2O"), molecule("CH3OH")]
    found = calculator.get_forces_batch(images)
    assert len(server.requests) == 1
    for atoms, results in zip(images, found, strict=True):
        atoms.calc = asking(server)
        assert results["energy"] == atoms.get_potential_energy()
        assert np.array_equal(results["forces"], atoms.get_forces())
        assert "stress" not in results


def test_images_that_are_all_periodic_have_their_stress() -> None:
    server = FakeServer(elements=frozenset({29}))
    images = [bulk("Cu", cubic=True), bulk("Cu", a=3.7)]
    found = asking(server).get_forces_batch(images)
    for atoms, results in zip(images, found, strict=True):
        atoms.calc = asking(server)
        assert results["stress"] == pytest.approx(atoms.get_stress())


def test_no_images_are_no_request() -> None:
    server = FakeServer()
    assert asking(server).get_forces_batch([]) == []
    assert server.requests == []


def test_a_batch_keeps_to_the_weights_that_answered_first() -> None:
    server = FakeServer()
    calculator = asking(server)
    calculator.get_forces_batch(path(3))
    server.digests["1"] = "sha256:two"
    with pytest.raises(DigestChanged):
        calculator.get_forces_batch(path(3))


@pytest.mark.parametrize("climb", [False, True])
@pytest.mark.parametrize("method", ["aseneb", "improvedtangent", "eb"])
@pytest.mark.parametrize("held", [False, True])
def test_a_band_takes_the_path_of_ase(method: str, climb: bool, held: bool) -> None:
    server = FakeServer()
    ours, theirs = path(5, held=held), path(5, held=held)
    for image in theirs:
        image.calc = asking(server)
    bands = (
        BatchedNEB(ours, asking(server), method=method, climb=climb),
        NEB(theirs, method=method, climb=climb),
    )
    for band in bands:
        band.interpolate()
        FIRE(band, logfile=None).run(fmax=0.0, steps=10)
    for one, other in zip(ours, theirs, strict=True):
        assert one.positions == pytest.approx(other.positions, abs=SAME_EV)
        assert one.get_potential_energy() == pytest.approx(other.get_potential_energy(), SAME_EV)
        assert one.get_forces() == pytest.approx(other.get_forces(), abs=1e-7)


@pytest.mark.parametrize("turned", [False, True])
def test_an_iteration_of_a_band_is_one_request(turned: bool) -> None:
    server = FakeServer()
    images = path(7)
    band = BatchedNEB(images, asking(server), climb=True, remove_rotation_and_translation=turned)
    optimizer = FIRE(band, logfile=None)
    optimizer.run(fmax=0.0, steps=4)
    for image in images:
        image.get_potential_energy()
    # The first look at the path, and one for each step.
    assert len(server.requests) == 1 + optimizer.nsteps
    assert len(server.predictions[0].structures) == 7
    # The ends stay where they are, unless turning them is asked for.
    assert len(server.predictions[-1].structures) == (6 if turned else 5)


def test_an_image_that_is_refused_is_named_by_its_number() -> None:
    images = path(5)
    server = FakeServer()
    evaluate_together(images, asking(server))
    images[0].get_forces()
    images[3].numbers[0] = 9
    with pytest.raises(InvalidStructure) as refused:
        images[3].get_forces()
    assert refused.value.structure == 3


def test_a_charge_that_changes_is_a_new_calculation() -> None:
    images = path(3)
    server = FakeServer()
    evaluate_together(images, asking(server))
    images[0].get_forces()
    images[1].info["charge"] = 1
    images[1].get_forces()
    assert server.predictions[-1].structures.charges.tolist() == [1]


def test_a_copy_of_an_image_is_asked_about_alone() -> None:
    images = path(4)
    server = FakeServer()
    evaluate_together(images, asking(server))
    energy = images[1].get_potential_energy()
    copy = images[1].copy()
    copy.calc = images[1].calc
    copy.positions[0] += 0.1
    assert copy.get_potential_energy() != energy
    assert len(server.predictions[-1].structures) == 1
    assert images[1].get_potential_energy() == energy


def test_stress_of_a_molecule_is_refused() -> None:
    images = path(3)
    evaluate_together(images, asking(FakeServer()))
    with pytest.raises(PropertyNotImplementedError, match="stress"):
        images[0].get_stress()


def test_the_same_image_twice_is_refused() -> None:
    first = molecule("H2O")
    with pytest.raises(ValueError, match="twice"):
        evaluate_together([first, first], asking(FakeServer()))


def test_ammonia_turns_inside_out_over_the_barrier_that_ase_finds() -> None:
    calculator = LocalCalculator("painn_tiny", threads=1, use="")
    atoms = molecule("NH3")
    atoms.calc = calculator
    FIRE(atoms, logfile=None).run(fmax=0.01)
    mirrored = atoms.copy()
    mirrored.positions[:, 2] *= -1.0
    barriers = []
    for batched in (True, False):
        images = [atoms.copy() for _ in range(4)] + [mirrored.copy()]
        if batched:
            band = BatchedNEB(images, calculator, climb=True)
        else:
            for image in images:
                image.calc = LocalCalculator("painn_tiny", local=calculator.client, use="")
            band = NEB(images, climb=True, method="improvedtangent")
        band.interpolate()
        assert FIRE(band, logfile=None).run(fmax=0.02, steps=200)
        energies = [image.get_potential_energy() for image in images]
        barriers.append(max(energies) - energies[0])
    assert barriers[0] == pytest.approx(barriers[1], abs=1e-6)
    # 0.25 eV by experiment and by good quantum chemistry.
    assert 0.15 < barriers[0] < 0.4


def test_factories_may_name_a_device_and_are_told_what_comes_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "forcegate")
    asking(FakeServer(), device="cpu")
    assert caplog.messages == []
    asking(FakeServer(), device="cuda:0")
    LocalCalculator("painn_tiny", device="cuda", use="")
    assert "'cuda:0'" in caplog.messages[0]
    assert "server" in caplog.messages[0]
    assert "processors" in caplog.messages[1]


def test_a_calculator_tells_the_elements_of_its_model() -> None:
    assert asking(FakeServer()).allowed_atomic_numbers == {1, 6, 7, 8}
    assert {1, 6, 7, 8} < LocalCalculator("painn_tiny", use="").allowed_atomic_numbers


@pytest.mark.parametrize("charge", [0, 1])
@pytest.mark.parametrize("spin", [1, 3])
def test_spin_is_2s_plus_1_as_the_field_spells_it(charge: int, spin: int) -> None:
    atoms = molecule("CH4") if charge == 0 else molecule("NH3") + Atoms("H", [[0, 0, 1.2]])
    atoms.info |= {"charge": charge, "spin": spin}
    server = FakeServer()
    atoms.calc = asking(server)
    atoms.get_potential_energy()
    assert server.predictions[0].structures.multiplicities.tolist() == [spin]
