"""Sampled geometries are physical, reproducible, and survive an interruption."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.units import kB, kcal, mol
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers

from forcegate_client.dataset import NOT_THERMAL, DatasetMismatchError, Source, load_dataset
from forcegate_trainer.data.labelling.checks import THERMAL_BOND_FACTOR, bonds, count_fragments
from forcegate_trainer.data.molecules.identity import identify
from forcegate_trainer.data.molecules.structures import (
    atomic_numbers,
    bonded_pairs,
    conformers,
    hydrogenated,
)
from forcegate_trainer.data.molecules.table import write_table
from forcegate_trainer.data.sampling import distortions, langevin
from forcegate_trainer.data.sampling.dimers import CONTACT_RANGE, choose_pairs
from forcegate_trainer.data.sampling.forces import mmff_forces
from forcegate_trainer.data.sampling.frames import sample_molecule, sample_pair
from forcegate_trainer.data.sampling.geometry import closest_contact
from forcegate_trainer.data.sampling.langevin import TrajectoryBlewUpError
from forcegate_trainer.data.sampling.run import sample_file
from forcegate_trainer.data.sampling.settings import SamplingSettings
from forcegate_trainer.errors import MoleculeError, SettingsError, TeacherError

FAST = SamplingSettings(
    temperatures=(300.0, 600.0),
    frames_per_molecule=5,
    conformers=2,
    equilibration_steps=20,
    decorrelation_steps=20,
    distorted_share=0.4,
)
MOLECULES = [identify(s) for s in ("CC(=O)NC", "OCCF", "CSCC=O", "Cc1cc[nH]n1", "O", "CCCl")]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the teacher, also in the commands that are started: two would wait for each other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def warm(smiles: str) -> tuple[Chem.Mol, np.ndarray, np.ndarray]:
    """The molecule, a relaxed and a shaken geometry."""
    molecule = hydrogenated(smiles)
    relaxed = conformers(molecule, 1, 7)[0]
    rng = np.random.default_rng(0)
    return molecule, relaxed, relaxed + 0.05 * rng.normal(size=relaxed.shape)


@pytest.mark.parametrize("smiles", ["NCC(=O)O", "FC(F)S(=O)(=O)Cl", "O.CCO"])
def test_force_field_forces_are_the_slope_of_its_energy_wherever_the_atoms_go(smiles: str) -> None:
    molecule = hydrogenated(smiles)
    rng = np.random.default_rng(3)
    parts = [
        conformers(hydrogenated(s), 1, 7)[0] + 4.0 * i for i, s in enumerate(smiles.split("."))
    ]
    relaxed = np.concatenate(parts)
    forces = mmff_forces(molecule, relaxed)

    def energy(positions: np.ndarray) -> float:
        fresh = Chem.Mol(molecule)
        conformer = Chem.Conformer(len(positions))
        conformer.SetPositions(positions)
        fresh.AddConformer(conformer)
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(fresh)
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(
            fresh, properties, ignoreInterfragInteractions=False
        )
        return float(field.CalcEnergy()) * kcal / mol

    for _ in range(3):
        positions = relaxed + 0.1 * rng.normal(size=relaxed.shape)
        direction = rng.normal(size=relaxed.shape)
        step = 1e-5
        slope = (energy(positions + step * direction) - energy(positions - step * direction)) / (
            2 * step
        )
        assert -np.sum(forces(positions) * direction) == pytest.approx(slope, rel=1e-5, abs=1e-5)


def test_langevin_dynamics_gives_the_canonical_distribution_of_a_harmonic_well() -> None:
    stiffness, temperature, atoms = 5.0, 400.0, 400
    numbers = np.full(atoms, 6)
    rng = np.random.default_rng(1)
    state = langevin.start(numbers, np.zeros((atoms, 3)), 2 * temperature, rng)
    samples = []
    for _ in range(20):
        state = langevin.run(state, lambda x: -stiffness * x, temperature, 100, rng)
        samples.append(np.mean(state.positions**2))
    expected = kB * temperature / stiffness
    # 400 x 3 x ~15 independent samples of a square: 1 % standard error.
    assert np.mean(samples[5:]) == pytest.approx(expected, rel=0.05)


def test_a_trajectory_that_flies_apart_is_reported() -> None:
    rng = np.random.default_rng(0)
    state = langevin.start(np.array([1]), np.zeros((1, 3)), 300.0, rng)
    with pytest.raises(TrajectoryBlewUpError, match="eV/Å"):
        langevin.run(state, lambda x: np.full_like(x, np.nan), 300.0, 5, rng)


@pytest.mark.parametrize("smiles", ["CCOC", "Cc1ccccn1"])
def test_a_stretch_changes_one_bond_outside_rings_and_moves_fragments_rigidly(smiles: str) -> None:
    molecule, relaxed, positions = warm(smiles)
    rng = np.random.default_rng(0)
    for _ in range(20):
        changed = distortions.stretch(molecule, positions, relaxed, rng)
        assert changed is not None
        lengths = {
            (i, j): np.linalg.norm(changed[i] - changed[j])
            for i, j in ((b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds())
        }
        different = [
            (i, j)
            for (i, j), length in lengths.items()
            if not np.isclose(length, np.linalg.norm(positions[i] - positions[j]))
        ]
        assert len(different) == 1
        first, second = different[0]
        assert not molecule.GetBondBetweenAtoms(first, second).IsInRing()
        factor = lengths[first, second] / np.linalg.norm(relaxed[first] - relaxed[second])
        assert 0.8 <= factor <= 1.6
        moved = distortions.beyond(molecule, first, second)
        for atoms in (moved, np.setdiff1d(np.arange(len(positions)), moved)):
            np.testing.assert_allclose(
                distances(changed[atoms]), distances(positions[atoms]), atol=1e-12
            )


def test_a_turned_torsion_keeps_bonds_and_angles() -> None:
    molecule, _, positions = warm("CC(=O)OCCN")
    changed = distortions.turn(molecule, positions, np.random.default_rng(0))
    assert changed is not None
    assert not np.allclose(changed, positions, atol=0.05)
    near = Chem.GetDistanceMatrix(molecule) <= 2
    np.testing.assert_allclose(distances(changed)[near], distances(positions)[near], atol=1e-12)


def test_nothing_is_stretched_or_turned_where_all_bonds_are_in_rings() -> None:
    molecule, relaxed, positions = warm("c1nonc1")
    ring = Chem.RWMol(molecule)
    rng = np.random.default_rng(0)
    assert distortions.turn(molecule, positions, rng) is None
    for _ in range(10):
        changed = distortions.stretch(ring, positions, relaxed, rng)
        assert changed is not None
        heavy = atomic_numbers(molecule) > 1
        np.testing.assert_allclose(
            distances(changed[heavy]), distances(positions[heavy]), atol=1e-12
        )


def test_dimers_touch_at_the_distances_that_matter() -> None:
    small = [identify(s) for s in ("O", "CO", "CC#N", "CSC", "C(Cl)F")]
    pairs = choose_pairs(small, 12, 0, np.random.default_rng(0))
    for pair in pairs:
        size = hydrogenated(pair.first.smiles).GetNumAtoms()
        for frame in sample_pair(pair, FAST).frames:
            assert frame.source == Source.DIMER
            contact = closest_contact(frame.positions[:size], frame.positions[size:])
            assert CONTACT_RANGE[0] <= contact <= CONTACT_RANGE[1]


def test_both_monomers_of_a_dimer_belong_to_one_split() -> None:
    many = [
        identify("C" * n + end) for n in range(1, 8) for end in ("O", "N", "F", "Cl", "S", "#N")
    ]
    many = [m for m in many if m.smiles != "CCO"]
    seed = next(s for s in itertools.count() if len({m.split(s) for m in many}) == 3)
    pairs = choose_pairs(many, 300, seed, np.random.default_rng(0))
    assert len({pair.first.split(seed) for pair in pairs}) == 3
    assert all(pair.first.split(seed) == pair.second.split(seed) for pair in pairs)


def test_the_frames_of_a_molecule_depend_on_its_smiles_and_the_seed_alone() -> None:
    molecule = MOLECULES[0]
    first = sample_molecule(molecule, FAST).frames
    sample_molecule(MOLECULES[1], FAST)
    again = sample_molecule(molecule, FAST).frames
    other = sample_molecule(molecule, SamplingSettings(**{**vars(FAST), "seed": 1})).frames
    assert len(first) == len(again) == 5
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
    assert not np.allclose(first[0].positions, other[0].positions)


EVERY_ELEMENT = (
    "OB(O)c1ccccc1", "F[B-](F)(F)CC[NH3+]", "C[Si](C)(C)OCC", "COP(=O)([O-])OC", "C[P+](C)(C)C",
    "BrCCI", "CI", "CC(=O)[O-]", "[NH3+]CC(=O)[O-]", "C[n+]1ccccc1", "NC(N)=[NH2+]", "CS(=O)(=O)Cl",
    "[S-]c1ccccc1", "[OH-]", "[NH4+]", "N#[N+]c1ccccc1", "Ic1ccc([O-])cc1",
)  # fmt: skip


def test_every_element_and_ion_has_frames_in_one_piece_and_its_net_charge(tmp_path: Path) -> None:
    molecules = [identify(smiles) for smiles in EVERY_ELEMENT]
    quick = {"temperatures": (300.0,), "frames_per_molecule": 2, "distorted_share": 0.0}
    settings = SamplingSettings(**{**vars(FAST), **quick, "dimer_share": 0.3})
    frames = sample_file(molecules, tmp_path / "f.h5", settings, workers=0)
    assert set(frames.atomic_numbers.tolist()) == {1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 35, 53}
    table = frames.molecules
    assert set(frames.dropped) <= {"no_dimer"}
    for row, smiles in enumerate(table.smiles):
        parts = [Chem.MolFromSmiles(part) for part in smiles.split(".")]
        assert table.charge[row] == sum(Chem.GetFormalCharge(part) for part in parts)
    for frame in np.flatnonzero(frames.source == Source.LANGEVIN):
        where = frames.atoms_of(int(frame))
        near = bonds(frames.atomic_numbers[where], frames.positions[where], THERMAL_BOND_FACTOR)
        smiles = table.smiles[int(frames.molecule_id[frame])]
        assert count_fragments(near) == 1, smiles
        for first, second in bonded_pairs(hydrogenated(smiles)):
            assert near[first, second], smiles
    alone = {smiles for smiles in table.smiles if "." not in smiles}
    assert alone == {molecule.smiles for molecule in molecules}


def test_what_no_force_field_knows_is_dropped_and_counted() -> None:
    sampled = sample_molecule(identify("FS(F)(F)(F)(F)C"), FAST)
    assert not sampled.frames
    assert set(sampled.dropped) == {"no_force_field"}


def test_a_molecule_with_fewer_frames_than_temperatures_gets_a_random_few() -> None:
    settings = SamplingSettings(
        **{**vars(FAST), "temperatures": (100.0, 300.0, 1000.0), "frames_per_molecule": 3}
    )
    assert settings.distorted_frames == 1
    given = {
        tuple(f.temperature for f in sample_molecule(molecule, settings).frames[:2])
        for molecule in MOLECULES
    }
    assert len(given) > 1
    assert all(first < second for first, second in given)


def test_frames_know_how_they_were_made() -> None:
    frames = sample_molecule(MOLECULES[0], FAST).frames
    assert [frame.temperature for frame in frames] == [300, 300, 600, NOT_THERMAL, NOT_THERMAL]
    assert {frame.source for frame in frames[:3]} == {Source.LANGEVIN}
    assert {frame.source for frame in frames[3:]} <= {Source.STRETCH, Source.TORSION}


def test_a_teacher_settles_or_drives_the_dynamics() -> None:
    settings = vars(FAST) | {
        "distorted_share": 0.0,
        "frames_per_molecule": 2,
        "temperatures": (300.0,),
    }
    quick = {"equilibration_steps": 2, "decorrelation_steps": 2}
    water = MOLECULES[4]
    driven = SamplingSettings(**{**settings, **quick, "driver": "tblite:GFN2-xTB"})
    settled = SamplingSettings(**{**settings, "settle": "tblite:GFN2-xTB", "settle_steps": 3})
    assert {f.source for f in sample_molecule(water, driven).frames} == {Source.TEACHER_MD}
    assert {f.source for f in sample_molecule(water, settled).frames} == {Source.SETTLED}


@pytest.mark.parametrize(
    ("changes", "error", "complaint"),
    [
        ({"temperatures": (300.0, -5.0)}, SettingsError, "positive ones, in K"),
        ({"frames_per_molecule": 0}, SettingsError, "expected 1 or more"),
        ({"dimer_share": 1.0}, SettingsError, "from 0 to below 1"),
        ({"driver": "gfn2"}, TeacherError, "expected .*'tblite:GFN2-xTB'"),
        ({"settle": "tblite:GFN9"}, TeacherError, "GFN2-xTB, GFN1-xTB"),
        ({"driver": "tblite:GFN2-xTB", "settle": "tblite:GFN2-xTB"}, SettingsError, "only with"),
    ],
)
def test_settings_without_meaning_are_refused(
    changes: dict[str, object], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        SamplingSettings(**{**vars(FAST), **changes})  # type: ignore[arg-type]


def test_no_molecule_in_the_wanted_splits_is_refused(tmp_path: Path) -> None:
    settings = SamplingSettings(**{**vars(FAST), "splits": ("test",)})
    with pytest.raises(MoleculeError, match="none of them in test"):
        sample_file(MOLECULES[4:5], tmp_path / "f.h5", settings, workers=0)


def test_a_few_molecules_of_a_split_are_a_fixed_choice(tmp_path: Path) -> None:
    settings = SamplingSettings(
        **{**vars(FAST), "splits": ("train",), "molecules_per_split": 2, "dimer_share": 0.0}
    )
    first = sample_file(MOLECULES, tmp_path / "a.h5", settings, workers=0)
    again = sample_file(MOLECULES, tmp_path / "b.h5", settings, workers=0)
    assert len(first.molecules) == 2
    assert first.content_hash() == again.content_hash()


def test_other_settings_do_not_continue_a_file(tmp_path: Path) -> None:
    sample_file(MOLECULES, tmp_path / "f.h5", FAST, workers=0)
    other = SamplingSettings(**{**vars(FAST), "seed": 5})
    with pytest.raises(DatasetMismatchError, match="seed: 0 there, 5 now"):
        sample_file(MOLECULES, tmp_path / "f.h5", other, workers=0)


def test_a_killed_command_continues_to_the_same_frames(tmp_path: Path) -> None:
    many = [identify("C" * n + end) for n in range(1, 12) for end in ("N", "F", "Cl", "S", "#N")]
    write_table(tmp_path / "m.csv", many, 0)
    settings = SamplingSettings(
        temperatures=(300.0,), frames_per_molecule=2, equilibration_steps=20,
        decorrelation_steps=10, dimer_share=0.2,
    )  # fmt: skip
    arguments = f"sample {tmp_path}/m.csv --out {tmp_path}/killed.h5 --temperatures 300"
    arguments += " --frames-per-molecule 2 --equilibration-steps 20 --decorrelation-steps 10"
    arguments += " --dimer-share 0.2 --workers 1"
    run = "from forcegate_trainer.cli.app import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", run, *arguments.split()], stderr=subprocess.DEVNULL
    ) as running:
        while not list((tmp_path / "killed.h5.parts").glob("0*.h5")) and running.poll() is None:
            time.sleep(0.01)
        os.kill(running.pid, signal.SIGKILL)
    assert not (tmp_path / "killed.h5").exists()
    killed, whole = (
        sample_file(many, tmp_path / out, settings, workers=0) for out in ("killed.h5", "whole.h5")
    )
    assert len(whole) > 100
    assert killed.content_hash() == whole.content_hash()
    assert load_dataset(tmp_path / "killed.h5").content_hash() == whole.content_hash()


def distances(positions: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(positions[:, None] - positions[None, :], axis=-1))
