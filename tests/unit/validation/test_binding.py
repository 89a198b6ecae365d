"""S66: a student that is the reference has no error, and one that repels where it attracts has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from ase.units import kcal, mol

from forcegate_client.structures import StructureBatch
from forcegate_trainer.simulation.potential import Evaluation
from forcegate_trainer.validation.interactions.binding import (
    BindingSettings,
    measure_binding,
    summarise_binding,
)
from forcegate_trainer.validation.interactions.s66 import FACTORS, load_s66
from forcegate_trainer.validation.verdict import judge

PAIRS = load_s66()
ALL = BindingSettings()


class Known:
    """Knows each pair of S66 by its positions, and gives its energy times ``scale``."""

    def __init__(self, scale: float = 1.0, silent: str = "") -> None:
        self._scale = scale
        self._known = {}
        for pair in PAIRS:
            unknown = np.nan if pair.name == silent else 1.0
            self._known[pair.dimer.positions.tobytes()] = unknown * pair.reference
            for structure, energy in zip(pair.scan, pair.scan_reference, strict=True):
                self._known[structure.positions.tobytes()] = unknown * energy

    def __call__(self, batch: StructureBatch, members: npt.NDArray[np.int64]) -> Evaluation:
        energies = [
            self._scale * self._known.get(atoms.positions.tobytes(), 0.0) * kcal / mol
            for atoms in batch.to_atoms()
        ]
        return Evaluation(
            np.array(energies), np.zeros_like(batch.positions), np.full(len(batch), np.nan)
        )


def test_pairs_are_those_of_the_publication() -> None:
    assert len(PAIRS) == 66
    assert PAIRS[0].name == "Water Dimer"
    assert PAIRS[0].reference == -4.918
    assert min(pair.reference for pair in PAIRS) == -19.491
    assert all(pair.reference < 0 for pair in PAIRS)
    assert {z for pair in PAIRS for z in pair.dimer.numbers.tolist()} == {1, 6, 7, 8}


def test_molecules_are_drawn_apart_by_the_factors_without_being_bent() -> None:
    for pair in PAIRS:
        size = len(pair.first)
        apart = []
        for structure in pair.scan:
            parts = structure[:size], structure[size:]
            for part, alone in zip(parts, (pair.first, pair.second), strict=True):
                bent = part.get_all_distances() - alone.get_all_distances()
                assert np.abs(bent).max() < 5e-4
            apart.append(np.linalg.norm(parts[0].positions.mean(0) - parts[1].positions.mean(0)))
        assert np.all(np.diff(apart) > 0)
        # Beyond contact each is bound the less the farther it is.
        assert np.all(np.diff(pair.scan_reference[FACTORS.index(1.1) :]) > 0)


def test_the_reference_has_no_error_and_its_figures_are_approved() -> None:
    summary = summarise_binding(measure_binding(Known(), Known(), ALL))
    assert summary["mae_kcal"] == pytest.approx(0.0, abs=1e-9)
    assert summary["wrong_signs"] == 0
    assert list(summary["scan"]) == [f"{factor:g}" for factor in FACTORS]
    figures = {"s66_mae_kcal": 1.0, "s66_wrong_signs": 0.0, "water_worst_kcal": 0.5}
    assert judge(figures)["binding"].status == "approved"
    assert judge(figures | {"s66_wrong_signs": 1.0})["binding"].status == "rejected"
    assert judge({"s66_mae_kcal": 0.1})["binding"].status == "not_validated"


def test_repelling_where_molecules_attract_is_counted() -> None:
    summary = summarise_binding(measure_binding(Known(-1.0), Known(), ALL))
    assert summary["wrong_signs"] == 66
    assert summary["teacher_wrong_signs"] == 0
    mean = np.mean([-pair.reference for pair in PAIRS])
    assert summary["mae_kcal"] == pytest.approx(2.0 * mean)
    assert summary["worst_kcal"] == pytest.approx(2.0 * 19.491)


def test_a_constant_factor_shows_at_each_distance() -> None:
    summary = summarise_binding(measure_binding(Known(0.5), Known(), ALL))
    far = np.array([pair.scan_reference[-1] for pair in PAIRS])
    assert summary["scan"]["2"]["mae_to_teacher_kcal"] == pytest.approx(0.5 * np.abs(far).mean())


def test_a_pair_without_an_answer_is_counted_and_left_out() -> None:
    summary = summarise_binding(measure_binding(Known(silent="Water Dimer"), Known(), ALL))
    assert summary["without_answer"] == 1
    assert summary["mae_kcal"] == pytest.approx(0.0, abs=1e-9)
