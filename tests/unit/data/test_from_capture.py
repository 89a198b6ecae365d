"""Captured frames are trained on if they are of training molecules, and not otherwise."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from numpy.typing import NDArray
from typer.testing import CliRunner

from forcegate_client.dataset import (
    Frame,
    MoleculeTable,
    Source,
    Split,
    from_frames,
    load_dataset,
)
from forcegate_service.watch.capture.store import Captured, CaptureStore
from forcegate_trainer.cli.app import create_app
from forcegate_trainer.data.capture.admission import Admission
from forcegate_trainer.data.capture.collection import collect
from forcegate_trainer.data.molecules.identity import identify
from forcegate_trainer.data.molecules.perception import perceive
from forcegate_trainer.data.molecules.structures import atomic_numbers, conformers, hydrogenated
from forcegate_trainer.errors import LabelError, MoleculeError, SettingsError
from support.datasets import label_file

Geometry = tuple[NDArray[np.int64], NDArray[np.float64]]


def geometry(smiles: str, seed: int = 0) -> Geometry:
    """A conformer, its atoms shuffled, as some client may have numbered them."""
    mol = hydrogenated(smiles)
    order = np.random.default_rng(seed).permutation(mol.GetNumAtoms())
    (positions,) = conformers(mol, 1, seed)
    return atomic_numbers(mol)[order], positions[order]


def beside(one: Geometry, other: Geometry) -> Geometry:
    """Two molecules with 3 Å between them."""
    gap = one[1][:, 0].max() - other[1][:, 0].min() + 3.0
    shifted = other[1] + [gap, 0, 0]
    return np.concatenate([one[0], other[0]]), np.concatenate([one[1], shifted])


def torn(one: Geometry) -> Geometry:
    """The atom that was numbered first is 3 Å further away."""
    numbers, positions = one
    away = positions.copy()
    hydrogen = int(np.flatnonzero(numbers == 1)[0])
    direction = away[hydrogen] - away.mean(axis=0)
    away[hydrogen] += 3.0 * direction / np.linalg.norm(direction)
    return numbers, away


@cache
def molecules_of(split: Split) -> list[str]:
    """Small molecules that the hash puts there."""
    small = (
        "CCF", "CCCl", "CSC", "CC#N", "CNC", "CCCF", "OCCF", "CCS", "CC=C", "C#CC", "CC(=O)C",
        "CCOC", "CCN", "CCCN", "CC(C)O", "COC", "CCCO", "CC(C)F", "C1CC1", "C1CCC1", "N#CC#N",
        "CCCC", "CC(C)C", "C=CC=C", "OCC#N", "FCCF", "ClCCl", "FC(F)F", "CC(F)F", "NCC#N", "CSCC",
        "CCCS", "C1CO1", "C1CCO1", "C1CS1", "CC=O", "CCC=O", "OC=O", "COC=O", "CC(=O)O", "CNC=O",
        "NC=O", "CON", "CNN", "CCCCC", "CCCCF", "CC(C)(C)F", "CCSC", "CC#CC", "C=C=C", "CC(C)S",
        "OCCO", "OCCN", "NCCN", "FCCCl", "CC(Cl)Cl", "CCC#N", "CC(C)C#N", "C=CC#N", "C=CF", "C=CCl",
    )  # fmt: skip
    return [smiles for smiles in small if identify(smiles).split(0) == split]


def reason_of(admission: Admission, found: Geometry) -> str:
    with pytest.raises(LabelError) as caught:
        admission.admit(*found)
    return caught.value.reason


@pytest.mark.parametrize(
    "smiles", ["CCO", "c1ccccc1", "CC(=O)N", "C[N+](=O)[O-]", "CS(C)(=O)=O", "c1ccc2ccccc2c1", "O"]
)
def test_molecules_are_recognised_from_their_geometry_alone(smiles: str) -> None:
    (found,) = perceive(*geometry(smiles))
    assert found == identify(smiles, found.name)


def test_each_piece_of_a_pair_is_recognised() -> None:
    found = perceive(*beside(geometry("O"), geometry("CC#N")))
    assert [one.inchikey for one in found] == [
        identify(smiles).inchikey for smiles in sorted(("CC#N", "O"))
    ]


def test_a_torn_bond_is_no_molecule() -> None:
    with pytest.raises(MoleculeError):
        perceive(*torn(geometry("CCF")))


def test_the_split_of_a_frame_is_that_of_its_molecule() -> None:
    admission = Admission(split_seed=0)
    train = molecules_of(Split.TRAIN)[:3]
    for smiles in train:
        assert admission.admit(*geometry(smiles)).split_key == identify(smiles).split_key
    for split in (Split.VALIDATION, Split.TEST):
        for smiles in molecules_of(split)[:2]:
            expected = f"captured_{split.name.lower()}_molecule"
            assert reason_of(admission, geometry(smiles)) == expected
    # There must have been some.
    assert len(molecules_of(Split.VALIDATION)) + len(molecules_of(Split.TEST)) >= 2


def test_public_molecules_are_refused_alone_and_in_pairs() -> None:
    admission = Admission(split_seed=0)
    assert reason_of(admission, geometry("CC(=O)Oc1ccccc1C(=O)O")) == "captured_public_molecule"
    pair = beside(geometry(molecules_of(Split.TRAIN)[0]), geometry("c1ccccc1"))
    assert reason_of(admission, pair) == "captured_public_molecule"


def test_a_torn_public_molecule_does_not_come_in_under_another_name() -> None:
    assert reason_of(Admission(0), torn(geometry("CCO"))) == "captured_public_composition"


def test_a_torn_molecule_that_is_held_out_elsewhere_does_not_come_in_either(tmp_path: Path) -> None:
    smiles = molecules_of(Split.TRAIN)[0]
    numbers, positions = geometry(smiles)
    table = MoleculeTable.closed_shell([smiles], ["I"], ["K"], [Split.VALIDATION])
    held_out = from_frames([Frame(numbers, positions, 0, Source.TEACHER_MD)], table)
    found = reason_of(Admission(0, [held_out]), torn((numbers, positions)))
    assert found == "captured_held_out_composition"
    assert reason_of(Admission(0), torn((numbers, positions))) == "captured_no_molecule"


def test_unperceived_bonds_are_known_by_their_connectivity_and_split_by_its_hash() -> None:
    # Protonated water beside nothing: all joined, and no neutral molecule.
    atoms = Atoms("OH3", [[0, 0, 0], [0.97, 0, 0], [-0.48, 0.84, 0], [-0.48, -0.84, 0]])
    numbers = atoms.numbers.astype(np.int64)
    with pytest.raises(MoleculeError):
        perceive(numbers, atoms.positions)
    ethyl = molecule("C2H6")[:-1]
    found = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(ethyl))
        found.append(Admission(5).admit(ethyl.numbers[order].astype(int), ethyl.positions[order]))
    assert found[0] == found[1] == found[2]
    assert found[0].split_key.startswith("connectivity-")
    assert found[0].inchikey == ""
    assert hydrogenated(found[0].smiles).GetNumAtoms() == 7


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A capture of a training molecule twice, a public one, and a held-out one."""
    train, test = molecules_of(Split.TRAIN), molecules_of(Split.TEST)
    store = CaptureStore(tmp_path / "captured", 100, 2**24)
    pieces = [
        geometry(train[0]), geometry(train[1]), geometry("c1ccccc1"),
        *(geometry(smiles) for smiles in test[:1]),
    ]  # fmt: skip
    added = store.add([Captured(*piece, {"reason": "novelty"}) for piece in pieces])
    assert added.outcomes == [None] * 4
    return tmp_path / "captured"


def test_only_training_frames_are_collected_each_once_and_the_rest_is_counted(
    folder: Path,
) -> None:
    # As after a crash between two parts, or of two gateways' folders in one.
    (path,) = folder.glob("*.h5")
    (folder / "copy.h5").write_bytes(path.read_bytes())
    found = collect(folder, Admission(0))
    assert len(found) == 2
    assert found.dropped == {
        "captured_twice": 4, "captured_public_molecule": 1, "captured_test_molecule": 1
    }  # fmt: skip
    assert set(found.split.tolist()) == {Split.TRAIN}


def test_a_folder_without_anything_for_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="FORCEGATE_CAPTURE_DIR"):
        collect(tmp_path, Admission(0))
    store = CaptureStore(tmp_path / "captured", 100, 2**24)
    store.add([Captured(*geometry("c1ccccc1"), {})])
    with pytest.raises(SettingsError, match="captured_public_molecule"):
        collect(tmp_path / "captured", Admission(0))


def test_the_command_writes_a_labelled_dataset_of_training_frames(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "captured.h5"
    words = ["label", "--from-capture", str(folder), "--out", str(out), "--workers", "0"]
    words += ["--teacher", "tblite:GFN2-xTB"]
    done = CliRunner().invoke(create_app(), words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = load_dataset(out)
    assert found.is_labelled
    assert found.teacher is not None
    assert found.teacher.name == "tblite:GFN2-xTB"
    assert len(found.frame_indices("train")) == len(found) == 2
    assert set(found.source.tolist()) == {Source.CAPTURED}
    expected = {identify(smiles).split_key for smiles in molecules_of(Split.TRAIN)[:2]}
    assert set(found.molecules.split_key) == expected
    assert found.dropped["captured_public_molecule"] == 1


def test_captured_frames_are_not_labelled_as_if_they_had_been_sampled(
    folder: Path, tmp_path: Path
) -> None:
    (path,) = folder.glob("*.h5")
    with pytest.raises(SettingsError, match="--from-capture"):
        label_file(path, tmp_path / "x.h5", "tblite:GFN2-xTB")


@pytest.mark.parametrize("both", [True, False])
def test_frames_and_a_capture_are_not_both_given_nor_neither(
    folder: Path, tmp_path: Path, both: bool
) -> None:
    given = ["frames.h5", "--from-capture", str(folder)] if both else []
    done = CliRunner().invoke(create_app(), ["label", "--out", str(tmp_path / "x.h5"), *given])
    assert isinstance(done.exception, SettingsError)
