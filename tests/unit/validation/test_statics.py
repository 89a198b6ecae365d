"""Relaxations, conformers, torsions and dimers: a student is compared with its teacher fairly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as ase_molecule
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.calculators.lj import LennardJones
from rdkit import Chem

from forcegate_service.runtimes.fake import load_fake, write_fake_model
from forcegate_trainer.data.molecules.structures import (
    atomic_numbers,
    bonded_pairs,
    conformers,
    hydrogenated,
)
from forcegate_trainer.data.sampling.geometry import closest_contact
from forcegate_trainer.simulation.potential import CalculatorPotential
from forcegate_trainer.teachers import make_teacher
from forcegate_trainer.validation.minimum import relax
from forcegate_trainer.validation.points import student_points, teacher_points
from forcegate_trainer.validation.statics.dissociation import DissociationSettings, drawn_apart
from forcegate_trainer.validation.statics.dissociation_section import dissociation_section
from forcegate_trainer.validation.statics.geometries import distinct, heavy_atom_rmsd
from forcegate_trainer.validation.statics.relaxation import RelaxationSettings
from forcegate_trainer.validation.statics.relaxation_section import relaxation_section
from forcegate_trainer.validation.statics.screening import (
    ConformerEnergies,
    ScreeningSettings,
    relative_to_mean,
    summarise_screening,
)
from forcegate_trainer.validation.statics.screening_section import screening_section
from forcegate_trainer.validation.statics.torsions import (
    TorsionProfile,
    TorsionSettings,
    central_bond,
    rigid_scan,
)
from forcegate_trainer.validation.statics.torsions_section import (
    summarise_torsions,
    torsion_section,
)
from forcegate_trainer.validation.subject import Subject, served
from support.evaluation import random_rotation

TEACHER = "tblite:GFN2-xTB"
ROUNDING = 1e-9


def teacher() -> Calculator:
    return make_teacher(TEACHER)


# As its own student.
ITSELF = Subject("the teacher", CalculatorPotential(teacher), teacher, TEACHER)


class Failing(Calculator):
    """Answers twice, then gives up."""

    implemented_properties = ("energy", "forces")

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = (), changes: object = ()
    ) -> None:
        super().calculate(atoms, properties, changes)
        self.calls += 1
        if self.calls > 2:
            raise CalculationFailed("no more")
        self.results = {"energy": 0.0, "forces": -self.atoms.positions}


def test_a_potential_keeps_the_calculators_of_different_molecules_apart() -> None:
    potential = CalculatorPotential(LennardJones)
    molecules = [ase_molecule(name) for name in ("H2O", "NH3", "CO2")]
    for order in (molecules, molecules[::-1]):
        for atoms, point in zip(order, student_points(potential, order), strict=True):
            alone = atoms.copy()
            alone.calc = LennardJones()
            assert point is not None
            assert point.energy == pytest.approx(alone.get_potential_energy(), abs=ROUNDING)
            np.testing.assert_allclose(point.forces, alone.get_forces(), atol=ROUNDING)
            assert point.novelty is None


def test_a_method_that_fails_for_one_structure_has_no_point_there() -> None:
    crushed = Atoms("H2", [(0, 0, 0), (0, 0, 0)])
    fine, failed = teacher_points(TEACHER, [ase_molecule("H2"), crushed])
    assert fine is not None
    assert failed is None


def test_a_relaxation_that_is_given_up_has_not_converged() -> None:
    found = relax(ase_molecule("H2O"), Failing(), fmax=0.02, steps=50)
    assert not found.converged
    assert found.trouble == "no more"


def toluene() -> tuple[Chem.Mol, np.ndarray]:
    molecule = hydrogenated("Cc1ccccc1")
    return molecule, conformers(molecule, 1, seed=1)[0]


def test_a_turned_and_shifted_molecule_has_no_rmsd() -> None:
    molecule, positions = toluene()
    turned = positions @ random_rotation(np.random.default_rng(1)).T + 3.0
    assert heavy_atom_rmsd(molecule, positions, turned) == pytest.approx(0.0, abs=1e-6)


def test_equivalent_atoms_may_change_places() -> None:
    molecule, positions = toluene()
    flipped = positions.copy()
    # The ring's atoms in SMILES order: ipso, ortho, meta, para, meta, ortho.
    flipped[[2, 3, 5, 6]] = positions[[6, 5, 3, 2]]
    found = heavy_atom_rmsd(molecule, positions, flipped)
    assert found == pytest.approx(0.0, abs=0.02)


def test_the_mirror_image_of_a_chiral_molecule_is_another_geometry() -> None:
    molecule = hydrogenated("C[C@H](F)Cl")
    positions = conformers(molecule, 1, seed=1)[0]
    found = heavy_atom_rmsd(molecule, positions, positions * [1.0, 1.0, -1.0])
    assert found is not None
    assert found > 0.2


def test_two_heavy_atoms_have_no_shape() -> None:
    molecule = hydrogenated("CO")
    positions = conformers(molecule, 1, seed=1)[0]
    assert heavy_atom_rmsd(molecule, positions, 1.1 * positions) is None


QUICK = RelaxationSettings(starts=1)


def test_the_teacher_relaxes_to_its_own_minimum() -> None:
    section = relaxation_section(ITSELF, {"ethanol": "CCO", "water": "O"}, QUICK)
    assert section.figures_for_verdict["relaxed_fraction"] == 1.0
    assert section.figures_for_verdict["heavy_atom_rmsd_median"] < 0.005
    ethanol, water = section.data["relaxations"]
    assert abs(ethanol["energy_above_teacher_kcal"]) < 0.01
    assert water["heavy_atom_rmsd"] is None
    assert set(section.figures) == {"relaxation"}


def test_a_student_that_tears_molecules_apart_has_not_relaxed_them() -> None:
    def student() -> Calculator:
        return LennardJones(sigma=2.5, epsilon=0.5, rc=10.0)

    tearing = Subject("tearing", CalculatorPotential(student), student, TEACHER)
    section = relaxation_section(tearing, {"ethanol": "CCO"}, QUICK)
    assert section.figures_for_verdict["relaxed_fraction"] == 0.0
    assert section.figures_for_verdict["heavy_atom_rmsd_median"] > 0.1


def test_relative_energies_do_not_know_the_zero() -> None:
    energies = np.array([0.3, 0.1, 0.2])
    moved = relative_to_mean((energies - 1e4).tolist())
    np.testing.assert_allclose(relative_to_mean(energies.tolist()), moved, atol=1e-6)
    assert moved.sum() == pytest.approx(0.0, abs=1e-6)
    # 1 kcal/mol is 43.36 meV.
    assert np.ptp(moved) == pytest.approx(0.2 / 0.04336, rel=1e-3)


def test_mirror_images_and_relabelled_copies_are_one_conformer() -> None:
    molecule = hydrogenated("OCCF")
    found = conformers(molecule, 10, seed=2)
    numbers = atomic_numbers(molecule)
    first, other = Atoms(numbers, found[0]), Atoms(numbers, found[0])
    mirrored = Atoms(numbers, found[0] * [-1.0, 1.0, 1.0])
    hydrogens = np.flatnonzero(numbers == 1)
    other.positions[hydrogens] = first.positions[hydrogens[::-1]]
    stretched = Atoms(numbers, 1.2 * found[0])
    assert distinct([first, mirrored, other, stretched, first], 0.05) == [0, 3]


def test_a_narrow_molecule_is_counted_and_not_ranked() -> None:
    wide = ConformerEnergies("wide", np.array([-1.0, 0.0, 1.0]), np.array([-1.1, 0.0, 1.1]))
    narrow = ConformerEnergies("narrow", np.array([-0.1, 0.0, 0.1]), np.array([0.1, 0.0, -0.1]))
    summary = summarise_screening([wide, narrow], 0.3)
    assert summary["spearman_median"] == pytest.approx(1.0)
    assert (summary["ranked_molecules"], summary["too_narrow_to_rank"]) == (1, 1)
    # Three pairs: 0.1, 0.1 and 0.2 off in the one, 0.2, 0.2 and 0.4 in the other.
    assert summary["pair_mae_kcal"] == pytest.approx(1.2 / 6)
    assert summary["pair_mae_kcal_mean_of_molecules"] == pytest.approx(0.2)
    assert summary["pair_mae_kcal_worst_molecule"] == pytest.approx(0.8 / 3)


def test_one_wrong_conformer_is_wrong_in_its_pairs_alone() -> None:
    teacher_says = np.array([0.0, 1.0, 2.0, 3.0])
    student_says = np.array([0.9, 1.0, 2.0, 3.0])
    entry = ConformerEnergies("one", teacher_says, student_says)
    np.testing.assert_allclose(np.sort(entry.pair_errors), [0, 0, 0, 0.9, 0.9, 0.9])
    # A shift of all is no error: only differences mean anything.
    assert ConformerEnergies("shifted", teacher_says, teacher_says + 7.0).mae == pytest.approx(0.0)


def test_a_barrier_that_is_too_low_is_off_by_that_much() -> None:
    angles = np.arange(0.0, 360.0, 30.0)
    wave = np.cos(np.radians(3 * angles))
    counted = np.ones(12, dtype=np.bool_)
    low = TorsionProfile("low", "C0–C1", angles, 1.5 * wave, 1.0 * wave, counted)
    right = TorsionProfile("right", "C0–C1", angles, 1.5 * wave, 1.5 * wave, counted)
    assert low.barrier_error == pytest.approx(-1.0)
    summary = summarise_torsions([low, right])
    assert summary["barrier_mae_kcal"] == pytest.approx(0.5)
    assert summary["barrier_worst_kcal"] == pytest.approx(1.0)


def test_nothing_measured_is_no_figure_for_a_verdict() -> None:
    section = screening_section(ITSELF, {"water": "O", "broken": "C1CC"}, ScreeningSettings())
    assert section.figures_for_verdict == {}
    assert set(section.data["left_out"]) == {"water", "broken"}


def test_the_teacher_orders_conformers_as_itself() -> None:
    settings = ScreeningSettings(conformers=4, candidates=12, relax_steps=5)
    section = screening_section(ITSELF, {"butanol": "CCCCO"}, settings)
    assert section.figures_for_verdict["conformer_pair_mae_kcal"] < 0.01
    assert section.figures_for_verdict["conformer_spearman"] > 0.99


def test_a_rigid_scan_changes_no_bond() -> None:
    molecule = hydrogenated("CC(=O)NCC")
    bond = central_bond(molecule)
    assert bond is not None
    start = Atoms(atomic_numbers(molecule), conformers(molecule, 1, seed=1)[0])
    scan = rigid_scan(molecule, start, bond, 8)
    np.testing.assert_allclose(scan[0].positions, start.positions, atol=ROUNDING)
    first, second = np.array(bonded_pairs(molecule)).T
    lengths = np.linalg.norm(start.positions[first] - start.positions[second], axis=1)
    for turned in scan[1:]:
        now = np.linalg.norm(turned.positions[first] - turned.positions[second], axis=1)
        np.testing.assert_allclose(now, lengths, atol=ROUNDING)
        assert np.abs(turned.positions - start.positions).max() > 0.5


def test_a_rigid_molecule_has_no_bond_to_turn() -> None:
    assert central_bond(hydrogenated("c1ccccc1")) is None


def test_the_central_bond_divides_the_molecule_best() -> None:
    molecule = hydrogenated("c1ccccc1-c1ccccc1")
    assert central_bond(molecule) == (5, 6)


def test_ethane_has_three_equal_barriers_of_three_kcal() -> None:
    settings = TorsionSettings(molecules=1, angles=6)
    section = torsion_section(ITSELF, {"benzene": "c1ccccc1", "ethane": "CC"}, settings)
    (profile,) = section.data["profiles"]
    assert profile["molecule"] == "ethane"
    energies = np.array(profile["teacher_kcal"])
    # Staggered and eclipsed in turn; 2.9 kcal/mol in experiment.
    np.testing.assert_allclose(energies[::2], energies[0], atol=0.05)
    np.testing.assert_allclose(energies[1::2], energies[1], atol=0.05)
    assert 1.5 < energies[1] - energies[0] < 4.0
    assert section.data["mae_kcal"] < 0.01


def test_dimers_are_drawn_to_the_contacts_that_were_asked_for() -> None:
    water = ase_molecule("H2O")
    dimer = water + Atoms(water.numbers, water.positions + np.array([0.0, 0.0, 3.0]))
    for contact, moved in zip([2.0, 5.0], drawn_apart(dimer, 3, [2.0, 5.0]), strict=True):
        first, second = moved.positions[:3], moved.positions[3:]
        assert closest_contact(first, second) == pytest.approx(contact, abs=1e-6)
        np.testing.assert_array_equal(moved.positions[:3], dimer.positions[:3])


def test_beyond_its_cutoff_a_student_feels_nothing_and_the_teacher_does(tmp_path: Path) -> None:
    card = write_fake_model(tmp_path)
    folder = tmp_path / card.name / card.version
    toy = replace(served(folder, load_fake(folder), card), teacher=TEACHER)
    settings = DissociationSettings(dimers=("Water_dimer",), points=10)
    section = dissociation_section(toy, settings)
    (water,) = section.data["dimers"].values()
    assert water["student_largest_beyond_cutoff_kcal"] < 1e-9
    assert water["teacher_beyond_cutoff_kcal"] < -0.1
    # GFN2-xTB binds two waters about as CCSD(T) does, by 5.0 kcal/mol.
    assert water["s22_ccsdt_kcal"] == pytest.approx(-5.02, abs=0.02)
    assert water["s22_teacher_kcal"] == pytest.approx(-5.0, abs=0.5)
    assert "blind" in section.markdown
