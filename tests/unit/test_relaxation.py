"""Many structures relaxed at once end where each would have ended alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import httpx
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import (
    FixAtoms,
    FixBondLength,
    FixCartesian,
    FixCom,
    FixedLine,
    FixedPlane,
    FixInternals,
    FixScaled,
    Hookean,
)
from ase.optimize import FIRE

from forcegate_client.errors import DigestChanged, ServerUnreachable
from forcegate_client.http.calculator import RemoteCalculator
from forcegate_client.http.client import Client
from forcegate_client.messages import Predictions
from forcegate_client.relaxation import Relaxed, evaluator, relax_batched
from forcegate_client.retry import RetryPolicy
from forcegate_client.structures import StructureBatch
from forcegate_client.testing import FakeServer

NAMES = ["H2O", "CH4", "C6H6", "CH3CH2OH", "CO2", "C2H6", "CH3COOH", "NH3"]
# Sums are taken in another order here than in ASE; a path of some hundred steps keeps them apart.
ROUNDING_A = 1e-9


def shaken(names: list[str], seed: int = 0) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    frames = [molecule(name) for name in names]
    for frame in frames:
        frame.positions += rng.normal(scale=0.1, size=frame.positions.shape)
    return frames


def client_of(server: FakeServer) -> Client:
    return Client("http://gateway", transport=server.transport)


def relaxed(frames: list[Atoms], **options: object) -> list[Relaxed]:
    evaluate = evaluator(client_of(FakeServer()), "springs")
    found = list(relax_batched(frames, evaluate, **options))  # type: ignore[arg-type]
    return sorted(found, key=lambda one: one.index)


def alone_with_ase(frame: Atoms, steps: int = 500) -> tuple[Atoms, FIRE]:
    atoms = frame.copy()
    atoms.calc = RemoteCalculator(model="springs", client=client_of(FakeServer()))
    engine = FIRE(atoms, logfile=None)
    engine.run(fmax=0.05, steps=steps)
    return atoms, engine


def springs(batch: StructureBatch) -> Predictions:
    response = client_of(FakeServer()).predict(batch, "springs", on_error="partial")
    return response.predictions


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 500])
def test_every_structure_takes_the_path_that_ase_takes_it_alone(steps: int) -> None:
    frames = shaken(NAMES)
    for frame, one in zip(frames, relaxed(frames, max_steps=steps, slots=3), strict=True):
        atoms, engine = alone_with_ase(frame, steps)
        assert np.abs(one.atoms.positions - atoms.positions).max() < ROUNDING_A
        assert one.steps == engine.nsteps
        assert one.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        assert one.start_energy == pytest.approx(springs_energy(frame), abs=1e-9)
        assert one.converged == engine.converged()


def springs_energy(frame: Atoms) -> float:
    energy = springs(StructureBatch.from_atoms([frame])).energy
    assert energy is not None
    return float(energy[0])


@pytest.mark.parametrize(("slots", "in_flight"), [(1, 1), (2, 2), (3, 2), (5, 3), (256, 2)])
def test_the_number_of_slots_changes_no_result(slots: int, in_flight: int) -> None:
    frames = shaken(NAMES * 2)
    expected = relaxed(frames, slots=1)
    found = relaxed(frames, slots=slots, in_flight=in_flight)
    assert [one.steps for one in found] == [one.steps for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one.atoms.positions - other.atoms.positions).max() < ROUNDING_A


def test_structures_are_taken_only_when_a_slot_is_free() -> None:
    taken, done = 0, 0
    most = 0

    def supply() -> Iterator[Atoms]:
        nonlocal taken, most
        for frame in shaken(NAMES * 5):
            taken += 1
            most = max(most, taken - done)
            yield frame

    for _ in relax_batched(supply(), springs, slots=6):
        done += 1
    assert taken == done == 40
    # Results of one group are handed out after its slots were filled again.
    assert most <= 6 + 6


def test_nothing_to_relax_is_no_request() -> None:
    server = FakeServer()
    assert list(relax_batched([], evaluator(client_of(server), "springs"))) == []
    assert server.requests == []


def test_two_groups_are_asked_for_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=30.0)

    def evaluate(batch: StructureBatch) -> Predictions:
        # Passes only while another thread stands here as well.
        together.wait()
        return springs(batch)

    # The same molecule twice: both groups need as many steps.
    found = list(relax_batched(shaken(["H2O"]) * 2, evaluate))
    assert [one.converged for one in found] == [True, True]


def test_fixed_atoms_stay_and_their_forces_do_not_count() -> None:
    frames = shaken(["CH3CH2OH", "C6H6"])
    frames[0].set_constraint(FixAtoms([0, 3]))
    frames[1].set_constraint(FixAtoms(range(12)))
    held, still = relaxed(frames)
    assert np.array_equal(held.atoms.positions[[0, 3]], frames[0].positions[[0, 3]])
    atoms, engine = alone_with_ase(frames[0])
    assert np.abs(held.atoms.positions - atoms.positions).max() < ROUNDING_A
    assert held.steps == engine.nsteps > 0
    assert isinstance(held.atoms.constraints[0], FixAtoms)
    assert (still.steps, still.converged, still.max_force) == (0, True, 0.0)


def test_a_coordinate_that_is_held_alone_takes_the_path_that_ase_takes_it() -> None:
    def tilted() -> Atoms:
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.1, seed=3)
        atoms.set_constraint([FixCartesian(0, (True, False, False)), FixAtoms([4])])
        return atoms

    (relaxed,) = relax_batched([tilted()], springs, fmax=0.05, max_steps=20)
    alone = tilted()
    alone.calc = RemoteCalculator(
        client=Client("http://gateway", transport=FakeServer().transport), model="springs"
    )
    FIRE(alone, logfile=None).run(fmax=0.05, steps=20)
    assert np.allclose(relaxed.atoms.positions, alone.positions, atol=1e-9)
    start = tilted().positions
    assert np.array_equal(relaxed.atoms.positions[4], start[4])
    assert relaxed.atoms.positions[0, 0] == start[0, 0]
    assert relaxed.atoms.positions[0, 1] != start[0, 1]


@pytest.mark.parametrize(
    "constraint",
    [
        FixBondLength(0, 1),
        FixedPlane([0], (0, 0, 1)),
        FixedLine([0], (0, 0, 1)),
        FixInternals(bonds=[[1.0, [0, 1]]]),
        Hookean(0, 1, 5.0, rt=1.2),
        FixCom(),
        FixScaled([0], [True, True, True]),
    ],
    ids=lambda constraint: type(constraint).__name__,
)
def test_a_constraint_that_no_batch_understands_is_refused_by_name(constraint: object) -> None:
    tied = Atoms("CO", [[0, 0, 0], [0, 0, 1.3]], cell=[9, 9, 9])
    tied.set_constraint(constraint)
    (refused,) = relax_batched([tied], springs)
    assert refused.problem is not None
    assert refused.problem["code"] == "constraint_unsupported"
    assert type(constraint).__name__ in refused.problem["received"]


def test_other_constraints_no_atoms_and_lost_positions_are_refused_alone() -> None:
    tied, empty, lost, good = shaken(["H2O"])[0], Atoms(), molecule("H2O"), molecule("CH4")
    tied.set_constraint(FixBondLength(0, 1))
    lost.positions[1, 2] = np.nan
    found = relaxed([tied, empty, lost, good])
    codes = [one.problem and one.problem["code"] for one in found]
    assert codes == ["constraint_unsupported", "no_atoms", "positions_not_finite", None]
    assert found[0].problem is not None
    assert "FixBondLength" in found[0].problem["detail"]
    assert [one.energy is None for one in found] == [True, True, True, False]
    assert found[3].converged


def test_what_the_server_refuses_fails_alone_and_is_named_by_its_place_of_all() -> None:
    frames = shaken(["H2O", "SiH4", "CH4", "CO2", "SiH4"])
    found = relaxed(frames, slots=2)
    assert [one.problem is not None for one in found] == [False, True, False, False, True]
    assert found[4].problem is not None
    assert found[4].problem["structure"] == 4
    assert found[4].problem["code"] == "element_unsupported"
    assert "structure 4: element 14" in found[4].problem["detail"]
    assert found[4].atoms.calc is None


def test_a_structure_that_is_too_large_fails_alone() -> None:
    server = FakeServer(max_atoms=10)
    frames = shaken(["H2O", "C6H6", "CH4"])
    found = list(relax_batched(frames, evaluator(client_of(server), "springs"), in_flight=1))
    problems = {one.index: one.problem for one in found}
    assert problems[1] is not None
    assert problems[1]["code"] == "payload_too_large"
    assert problems[0] is problems[2] is None


@pytest.mark.parametrize(
    ("energy", "force", "code"),
    [
        (np.nan, 0.1, "prediction_not_finite"),
        (-1.0, np.nan, "prediction_not_finite"),
        (-1.0, np.inf, "prediction_not_finite"),
        (-1.0, 1e5, "relaxation_exploded"),
    ],
)
def test_what_explodes_fails_alone_with_its_reason(energy: float, force: float, code: str) -> None:
    def evaluate(batch: StructureBatch) -> Predictions:
        found = springs(batch)
        assert found.energy is not None
        assert found.forces is not None
        bad = np.flatnonzero(batch.n_atoms == 5)
        energies, forces = np.array(found.energy), np.array(found.forces)
        energies[bad] = energy
        forces[batch.offsets[bad]] = force
        return replace(found, energy=energies, forces=forces)

    frames = shaken(["H2O", "CH4", "CO2"])
    water, methane, co2 = sorted(relax_batched(frames, evaluate), key=lambda one: one.index)
    assert methane.problem is not None
    assert methane.problem["code"] == code
    assert (methane.energy, methane.max_force, methane.converged) == (None, None, False)
    assert water.converged
    assert co2.converged


def test_cells_charges_and_remarks_are_kept() -> None:
    crystal = bulk("C", "diamond", a=3.4)
    crystal.rattle(0.05, seed=1)
    crystal.info.update(charge=1, name="mine")
    server = FakeServer()
    (one,) = relax_batched([crystal], evaluator(client_of(server), "springs"))
    assert np.array_equal(one.atoms.cell.array, crystal.cell.array)
    assert one.atoms.pbc.all()
    assert one.atoms.info["name"] == "mine"
    assert all(asked.structures.charges.tolist() == [1] for asked in server.predictions)
    assert one.atoms.get_potential_energy() == one.energy


def test_the_structures_that_were_given_are_not_changed() -> None:
    frames = shaken(NAMES)
    before = [frame.positions.copy() for frame in frames]
    relaxed(frames)
    assert all(np.array_equal(a, f.positions) for a, f in zip(before, frames, strict=True))


def test_the_version_that_answered_first_answers_to_the_end() -> None:
    server = FakeServer(digests={"1": "sha256:one", "2": "sha256:two"})
    evaluate = evaluator(client_of(server), "springs")
    for _ in relax_batched(shaken(NAMES), evaluate, slots=2):
        server.version = "2"
    assert (evaluate.version, evaluate.digest) == ("1", "sha256:one")
    assert [asked.version for asked in server.predictions[1:]] == ["1"] * (
        len(server.predictions) - 1
    )


def test_other_weights_under_the_same_version_end_it() -> None:
    server = FakeServer()
    running = relax_batched(shaken(NAMES), evaluator(client_of(server), "springs"), slots=2)
    next(running)
    server.digests["1"] = "sha256:other"
    with pytest.raises(DigestChanged, match="sha256:other"):
        list(running)


def test_a_server_that_is_gone_is_raised_and_what_was_done_is_out() -> None:
    server = FakeServer()
    client = Client(
        "http://gateway", transport=server.transport, retry=RetryPolicy(give_up_after_s=0.0)
    )
    running = relax_batched(shaken(NAMES), evaluator(client, "springs"), slots=2)
    assert next(running).converged
    server.script = [_gone] * 10
    with pytest.raises(ServerUnreachable, match="gone"):
        list(running)


def _gone(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("gone")


def test_no_slots_no_groups_and_no_steps_are_refused_at_once() -> None:
    for slots, in_flight, max_steps in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(ValueError, match="expected at least one"):
            relax_batched([], springs, slots=slots, in_flight=in_flight, max_steps=max_steps)
