"""Minima are compared with those that ASE finds alone, and a wrong one is seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

from forcegate_bench.serving.minima import beside_ase
from forcegate_bench.serving.relaxation import shaken_molecules
from forcegate_bench.subjects.in_process import InProcess
from forcegate_client.messages import Predictions
from forcegate_client.relaxation import Relaxed, relax_batched
from forcegate_client.structures import StructureBatch
from forcegate_service.runtimes.fake import write_fake_model

_DATASET = Path(__file__).parents[3] / "datasets" / "forcegate_v3_1.h5"
# The toy's forces are some hundredths of eV/Å.
RULES = {"fmax": 0.005, "steps": 200}
FRAMES = [molecule(name) for name in ("H2O", "CH4", "CH3OH")]


@pytest.fixture
def toy(tmp_path: Path) -> InProcess:
    write_fake_model(tmp_path, "toy")
    return InProcess.of_graphs(tmp_path / "toy" / "1", fake=True)


@pytest.fixture
def results(toy: InProcess) -> list[Relaxed]:
    def evaluate(batch: StructureBatch) -> Predictions:
        return Predictions(np.arange(len(batch)), batch.n_atoms, *toy.answer(batch))

    found = relax_batched(FRAMES, evaluate, fmax=RULES["fmax"], max_steps=int(RULES["steps"]))
    return sorted(found, key=lambda one: one.index)


def test_the_same_minima_are_found_to_be_the_same(toy: InProcess, results: list[Relaxed]) -> None:
    largest, compared, apart, other_steps = beside_ase("toy", toy, FRAMES, results, **RULES)
    assert largest.ok
    assert largest.value == pytest.approx(0.0, abs=1e-6)
    assert [row.value for row in (compared, apart, other_steps)] == [3, 0, 0]


def test_a_minimum_that_is_off_and_one_that_is_missing_are_seen(
    toy: InProcess, results: list[Relaxed]
) -> None:
    first, second, third = results
    assert first.energy is not None
    wrong = [replace(first, energy=first.energy + 0.002), replace(second, converged=False), third]
    largest, compared, apart, _ = beside_ase("toy", toy, FRAMES, wrong, **RULES)
    assert largest.ok is False
    assert largest.value == pytest.approx(2.0)
    assert [row.value for row in (compared, apart)] == [2, 1]


def test_molecules_to_relax_have_no_broken_and_no_pressed_bonds() -> None:
    frames = shaken_molecules(_DATASET, 100)
    assert len({frame.get_chemical_formula() for frame in frames}) > 90
    for frame in frames:
        distances = frame.get_all_distances() + 10.0 * np.eye(len(frame))
        # Those of H2 and of C–Cl are the extremes.
        assert distances.min() > 0.65
        assert (distances.min(axis=1) < 2.0).all()
