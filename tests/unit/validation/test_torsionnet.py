"""Barriers of TorsionNet500: the published fragments, and scans that relax all but the angle."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from ase import Atoms
from rdkit import Chem

from forcegate_trainer.data.molecules.structures import hydrogenated
from forcegate_trainer.simulation.potential import CalculatorPotential
from forcegate_trainer.teachers import make_teacher
from forcegate_trainer.validation.points import student_points
from forcegate_trainer.validation.statics.torsionnet import (
    Barrier,
    TorsionNetSettings,
    load_fragments,
    measure_barriers,
    relaxed_scan,
)
from forcegate_trainer.validation.statics.torsionnet_section import (
    summarise_barriers,
    torsionnet_section,
)
from forcegate_trainer.validation.subject import Subject

TEACHER = "tblite:GFN2-xTB"
FRAGMENTS = load_fragments()
# The one that costs least to compute, alone.
SMALLEST = min(range(len(FRAGMENTS)), key=lambda row: len(FRAGMENTS[row].smiles))
SETTINGS = TorsionNetSettings(angles=4, conformers=2)
HELD_DEG = 3.0


def itself() -> Subject:
    """The teacher in the student's place."""
    potential = CalculatorPotential(lambda: make_teacher(TEACHER))
    return Subject(TEACHER, potential, lambda: make_teacher(TEACHER), TEACHER)


def test_each_published_fragment_has_a_chain_of_four_atoms_around_a_bond_outside_rings() -> None:
    assert len(FRAGMENTS) == 365
    for fragment in FRAGMENTS:
        molecule = hydrogenated(fragment.smiles)
        chain = fragment.torsion
        bonds = [molecule.GetBondBetweenAtoms(*pair) for pair in pairwise(chain)]
        assert all(bond is not None for bond in bonds)
        assert bonds[1].GetBondType() == Chem.BondType.SINGLE
        assert not bonds[1].IsInRing()
        assert fragment.barrier > 0.0


def test_a_scan_relaxes_everything_but_the_angle() -> None:
    fragment = FRAGMENTS[SMALLEST]
    subject = itself()
    scan, converged = relaxed_scan(subject.potential, fragment, SETTINGS)
    assert converged == len(scan) == SETTINGS.angles
    for row, atoms in enumerate(scan):
        wanted = 360.0 / SETTINGS.angles * row
        off = (atoms.get_dihedral(*fragment.torsion) - wanted + 180.0) % 360.0 - 180.0
        assert abs(off) < HELD_DEG
    points = student_points(subject.potential, scan)
    for atoms, point in zip(scan, points, strict=True):
        assert point is not None
        assert np.abs(across_the_turn(atoms, fragment.torsion, point.forces)).max() < 0.1


def across_the_turn(atoms: Atoms, torsion: tuple[int, ...], forces: np.ndarray) -> np.ndarray:
    """``forces`` [n, 3] less their part along the gradient of the angle."""
    gradient = np.zeros_like(forces)
    for atom in torsion:
        for axis in range(3):
            for sign in (1.0, -1.0):
                moved = atoms.copy()
                moved.positions[atom, axis] += sign * 1e-4
                angle = moved.get_dihedral(*torsion)
                reference = atoms.get_dihedral(*torsion)
                change = (angle - reference + 180.0) % 360.0 - 180.0
                gradient[atom, axis] += sign * change
    gradient /= np.linalg.norm(gradient)
    return forces - np.sum(forces * gradient) * gradient


def test_the_teacher_in_the_student_s_place_has_the_teacher_s_barrier() -> None:
    settings = TorsionNetSettings(every=len(FRAGMENTS), angles=4, conformers=2)
    found, silent = measure_barriers(itself(), settings)
    (barrier,) = found
    assert silent == []
    assert barrier.student == pytest.approx(barrier.teacher, abs=0.01)
    assert barrier.student > 0.5


def test_errors_are_those_of_the_barriers_and_the_worst_is_told() -> None:
    first, second = FRAGMENTS[:2]
    found = [
        Barrier(first, first.barrier + 1.0, first.barrier, 24),
        Barrier(second, second.barrier - 3.0, second.barrier + 1.0, 24),
    ]
    summary = summarise_barriers(found)
    assert summary["mae_kcal"] == pytest.approx(2.0)
    assert summary["worst_kcal"] == pytest.approx(3.0)
    assert summary["to_teacher_mae_kcal"] == pytest.approx(2.5)
    assert summary["teacher_mae_kcal"] == pytest.approx(0.5)


def test_a_fragment_that_was_trained_on_is_counted() -> None:
    settings = TorsionNetSettings(every=len(FRAGMENTS), angles=4, conformers=2)
    section = torsionnet_section(itself(), {FRAGMENTS[0].smiles}, settings)
    assert section.data["trained_on"] == 1
    assert "1 of the fragments were trained on" in section.markdown
    assert set(section.figures) == {"torsion_barriers"}
