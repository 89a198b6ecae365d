"""Files of structures: each record has its number, also those that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from rdkit import Chem

from forcegate_client.dataset import load_dataset, write_dataset
from forcegate_client.reading.chunk import Chunk
from forcegate_client.reading.errors import InputUnreadable
from forcegate_client.reading.inputs import as_inputs
from forcegate_client.reading.library import Library, open_library
from forcegate_client.reading.process import ReaderProcess
from forcegate_client.structures import StructureBatch
from support.datasets import labelled_dataset


def same(one: StructureBatch, other: StructureBatch) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in StructureBatch.__dataclass_fields__
    )


def labels(chunk: Chunk) -> list[str]:
    return [origin.label for origin in chunk.origins]


def codes(chunk: Chunk) -> dict[int, str]:
    return {index: problem.code for index, problem in chunk.problems.items()}


def library(*paths: Path) -> Library:
    return open_library(paths)


def test_extended_xyz_gives_what_ase_gives(tmp_path: Path) -> None:
    water, charged = molecule("H2O"), molecule("OH")
    charged.info["charge"] = -1
    labelled = molecule("CH4")
    labelled.calc = SinglePointCalculator(labelled, energy=1.0, forces=np.ones((5, 3)))
    path = tmp_path / "in.extxyz"
    write(path, [water, bulk("Cu", cubic=True), charged, labelled])
    chunk = library(path).chunk(0, 4)
    assert not chunk.problems
    assert same(chunk.structures, StructureBatch.from_atoms(read(path, ":")))
    assert chunk.structures.charges.tolist() == [0, 0, -1, 0]


def test_charges_and_spins_of_xyz_are_those_that_a_calculator_would_read(tmp_path: Path) -> None:
    path = tmp_path / "in.extxyz"
    plain = "Properties=species:S:1:pos:R:3"
    comments = [
        f"{plain} Total_Charge=-1",
        f"{plain} spin=3",
        f"{plain} charge=cation",
        f"{plain} charge=0 net_charge=1",
        f"{plain}:initial_magmoms:R:1",
    ]
    path.write_text("".join(f"2\n{c}\nH 0 0 0 1.0\nH 0 0 0.8 1.0\n" for c in comments))
    chunk = library(path).chunk(0, 5)
    assert chunk.index.tolist() == [0, 1, 4]
    assert chunk.structures.charges.tolist() == [-1, 0, 0]
    assert chunk.structures.multiplicities.tolist() == [1, 3, 3]
    assert codes(chunk) == {2: "charge_invalid", 3: "charge_contradictory"}


def test_a_broken_frame_fails_alone_at_its_number(tmp_path: Path) -> None:
    path = tmp_path / "in.xyz"
    path.write_text(
        "1\n\nH 0 0 0\n1\n\nQq 0 0 0\n1\n\nH 0 zero 0\nrubbish\n2\n\nH 0 0 0\nH 0 0 1\n3\n\nH 0 0 0"
    )
    source = library(path)
    assert source.size == 6
    chunk = source.chunk(0, 6)
    assert chunk.index.tolist() == [0, 4]
    assert sorted(chunk.problems) == [1, 2, 3, 5]


def test_all_records_of_an_sdf_are_read_with_their_charges(tmp_path: Path) -> None:
    def block(symbol: str, charge: int) -> str:
        atoms = Chem.RWMol()
        atom = Chem.Atom(symbol)
        atom.SetFormalCharge(charge)
        atom.SetNoImplicit(True)
        atoms.AddAtom(atom)
        conformer = Chem.Conformer(1)
        conformer.Set3D(True)
        conformer.SetAtomPosition(0, (0.0, 0.0, 1.5))
        atoms.AddConformer(conformer)
        atoms.SetProp("_Name", f"{symbol}{charge}")
        return str(Chem.MolToMolBlock(atoms))

    path = tmp_path / "in.sdf"
    path.write_text(block("Na", 1) + "$$$$\n" + "no record\n$$$$\n" + block("Cl", -1) + "$$$$\n\n")
    chunk = library(path).chunk(0, 3)
    assert chunk.index.tolist() == [0, 2]
    assert labels(chunk) == ["Na1", "no record", "Cl-1"]
    assert chunk.structures.charges.tolist() == [1, -1]
    assert chunk.structures.atomic_numbers.tolist() == [11, 17]
    assert codes(chunk) == {1: "record_unreadable"}


def test_a_drawing_is_no_structure(tmp_path: Path) -> None:
    drawn = Chem.MolFromSmiles("CCO")
    path = tmp_path / "in.sdf"
    path.write_text(Chem.MolToMolBlock(drawn))
    assert codes(library(path).chunk(0, 1)) == {0: "no_3d_coordinates"}


def test_smiles_become_the_same_structures_each_time(tmp_path: Path) -> None:
    path = tmp_path / "in.smi"
    path.write_text("CCO ethanol\n\nnot-a-smiles\n[NH4+]\tammonium\nC[CH2]\n")
    one, other = (library(path).chunk(0, 4) for _ in range(2))
    assert same(one.structures, other.structures)
    assert labels(one) == ["ethanol", "not-a-smiles", "ammonium", "C[CH2]"]
    assert [origin.smiles for origin in one.origins] == ["CCO", "not-a-smiles", "[NH4+]", "C[CH2]"]
    assert one.structures.n_atoms.tolist() == [9, 5, 7]
    assert one.structures.charges.tolist() == [0, 1, 0]
    assert one.structures.multiplicities.tolist() == [1, 1, 2]
    assert codes(one) == {1: "smiles_invalid"}


def test_a_dataset_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "in.h5"
    write_dataset(path, labelled_dataset())
    whole = load_dataset(path)
    chunk = library(path).chunk(1, len(whole))
    assert np.array_equal(chunk.structures.positions, whole.positions[whole.offsets[1] :])
    assert chunk.index.tolist() == list(range(1, len(whole)))


def test_files_are_numbered_through(tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", [molecule("H2O")] * 3)
    write(tmp_path / "b.traj", [molecule("CH4")] * 2)
    (tmp_path / "c.smi").write_text("C methane\n")
    source = library(tmp_path / "a.xyz", tmp_path / "b.traj", tmp_path / "c.smi")
    chunk = source.chunk(2, 6)
    assert chunk.index.tolist() == [2, 3, 4, 5]
    assert chunk.structures.n_atoms.tolist() == [3, 5, 5, 5]
    assert labels(chunk) == ["", "", "", "methane"]
    # Back to the front, which a format without an index cannot simply jump to.
    assert source.chunk(3, 4).index.tolist() == [3]


def test_another_process_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "in.smi"
    path.write_text("CCO ethanol\nnot-a-smiles\n")
    reader = ReaderProcess(as_inputs([path]))
    try:
        assert reader.size == 2
        here, there = library(path).chunk(0, 2), reader.read(0, 2)
    finally:
        reader.close()
    assert same(here.structures, there.structures)
    assert (here.origins, here.problems) == (there.origins, there.problems)


@pytest.mark.parametrize(("name", "text"), [("a.xyz", ""), ("a.traj", "x"), ("a.h5", "x")])
def test_a_file_without_structures_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputUnreadable, match=name):
        library(tmp_path / name)
    with pytest.raises(InputUnreadable, match=name):
        ReaderProcess(as_inputs([tmp_path / name]))
