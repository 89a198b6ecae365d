"""The engine answers as torch does, on every kernel, and the same in every batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import pytest
from ase import Atoms

import forcegate_engine
from forcegate_client.structures import StructureBatch
from forcegate_engine import Evaluation, Model
from forcegate_service.contract.runtime import ModelOutput
from support.engine import (
    CHARGED,
    NEUTRAL,
    PUBLISHED,
    engine,
    evaluated,
    five_hundred,
    liquid,
    mixed,
    potential,
    torch_answer,
    weights,
)
from support.random_structures import mixed_batch

KERNELS = forcegate_engine.kernels()
STUDENTS = (*PUBLISHED, CHARGED, NEUTRAL)


def assert_close(
    answer: Evaluation, name: str, batch: StructureBatch, expected: ModelOutput | None = None
) -> None:
    """Within 1e-5 eV/Å, or the same part of forces above 1 eV/Å: float32 has no more digits."""
    expected = expected or torch_answer(name, batch)
    assert (answer.charges is None) == (expected.charges is None)
    for field in fields(answer):
        one, other = getattr(answer, field.name), getattr(expected, field.name)
        if one is not None:
            np.testing.assert_allclose(one, other, atol=2e-5, rtol=1e-5, err_msg=field.name)


@pytest.mark.parametrize("name", STUDENTS)
def test_it_answers_as_torch_does(name: str) -> None:
    expected = torch_answer(name, mixed())
    for kernel in KERNELS:
        assert_close(evaluated(engine(name, kernel), mixed()), name, mixed(), expected)


@pytest.mark.parametrize("name", STUDENTS)
def test_five_hundred_structures_have_the_forces_that_torch_finds(name: str) -> None:
    batch = five_hundred()
    assert len(batch) == 500
    answer, expected = evaluated(engine(name), batch), torch_answer(name, batch)
    # Of a lone atom, or of CH, students know nothing: hundreds of eV, in float32.
    known = batch.n_atoms > 2
    assert known.sum() > 450
    atoms = np.repeat(known, batch.n_atoms)
    np.testing.assert_allclose(answer.forces[atoms], expected.forces[atoms], atol=1e-5, rtol=0.0)
    np.testing.assert_allclose(answer.energy[known], expected.energy[known], atol=2e-5, rtol=0.0)
    np.testing.assert_allclose(answer.forces, expected.forces, atol=1e-4)
    np.testing.assert_allclose(answer.energy, expected.energy, rtol=1e-6, atol=1e-3)


def test_every_kernel_that_this_processor_runs_is_there_and_the_best_is_taken() -> None:
    assert KERNELS[-1] in ("portable", "neon")
    assert engine(CHARGED).kernel == KERNELS[0]
    assert [engine(CHARGED, name).kernel for name in KERNELS] == list(KERNELS)


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_the_neighbors_that_the_gateway_finds(seed: int) -> None:
    """Atoms where no chemistry would put them: cells smaller than the cutoff, slabs, wires."""
    batch = mixed_batch(seed, 12)
    answer, expected = evaluated(engine(CHARGED), batch), torch_answer(CHARGED, batch)
    scale = 1.0 + np.abs(expected.forces).max()
    np.testing.assert_allclose(answer.energy, expected.energy, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(answer.forces, expected.forces, atol=3e-5 * scale)


@pytest.mark.parametrize("spread", [30.0, 3e3, 3e5])
def test_molecules_in_mostly_empty_space_cost_and_answer_as_many_near_ones(spread: float) -> None:
    rng = np.random.default_rng(1)
    parts = [liquid(rng, 1) for _ in range(40)]
    apart = sum(parts[1:], parts[0].copy())
    apart.positions = np.concatenate(
        [part.positions + rng.uniform(-spread, spread, 3) * (k > 0) for k, part in enumerate(parts)]
    )
    answer = evaluated(engine("painn_tiny"), StructureBatch.from_atoms([apart]))
    alone = evaluated(engine("painn_tiny"), StructureBatch.from_atoms(parts))
    # Too few for two of them to be near each other, but for the narrowest. What their charges do
    # not sum to zero by acts at any distance, as 1/r.
    if spread > 30.0:
        np.testing.assert_allclose(answer.forces, alone.forces, atol=2e-6 + 1.0 / spread)
        assert answer.energy[0] == pytest.approx(alone.energy.sum(), abs=1e-5 + 50.0 / spread)
    assert_close(answer, "painn_tiny", StructureBatch.from_atoms([apart]))


@pytest.mark.parametrize("name", ["painn_tiny", CHARGED])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_structure_has_the_same_bits_alone_in_a_batch_and_on_any_number_of_threads(
    name: str, kernel: str
) -> None:
    batch, model = mixed(), engine(name, kernel)
    together = evaluated(model, batch, threads=1)
    for threads in (2, 3, 8):
        assert same_bits(evaluated(model, batch, threads=threads), together)
    order = np.random.default_rng(2).permutation(len(batch))
    for start in range(0, len(batch), 7):
        chosen = order[start : start + 7]
        part = evaluated(model, batch.select(chosen), threads=1 + start % 3)
        assert part.energy.tobytes() == together.energy[chosen].tobytes()
        atoms = np.concatenate([np.arange(*batch.offsets[b : b + 2]) for b in chosen])
        assert part.forces.tobytes() == together.forces[atoms].tobytes()
        assert part.atom_novelty.tobytes() == together.atom_novelty[atoms].tobytes()
        assert part.virial.tobytes() == together.virial[chosen].tobytes()


def test_a_model_opened_again_has_the_same_bits() -> None:
    assert same_bits(
        evaluated(Model(weights(CHARGED)), mixed()), evaluated(engine(CHARGED), mixed())
    )


def test_many_threads_may_ask_one_model_at_a_time() -> None:
    batch, model = mixed(), engine(CHARGED)
    expected = evaluated(model, batch, threads=1)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda k: evaluated(model, batch, threads=k % 3), range(12)))
    assert all(same_bits(answer, expected) for answer in answers)


def test_no_structure_and_no_neighbor_are_answered_too() -> None:
    nothing = engine(CHARGED).evaluate([], np.zeros((0, 3)), n_atoms=[])
    assert nothing.energy.shape == (0,)
    assert nothing.forces.shape == (0, 3)
    assert nothing.virial.shape == (0, 3, 3)
    lonely = StructureBatch.from_atoms([Atoms("H"), Atoms("C"), Atoms("N")])
    assert_close(evaluated(engine(CHARGED), lonely), CHARGED, lonely)


def test_what_it_says_of_itself_is_what_was_written() -> None:
    _, config = potential(CHARGED)
    model = engine(CHARGED)
    assert (model.interface, model.cutoff, model.pair_cutoff) == (2, config.cutoff, 12.0)
    assert model.elements == config.elements
    neutral = engine(NEUTRAL)
    assert (neutral.interface, neutral.pair_cutoff) == (1, 0.0)


def same_bits(one: Evaluation, other: Evaluation) -> bool:
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)]
    return all(a is b or a.tobytes() == b.tobytes() for a, b in pairs)
