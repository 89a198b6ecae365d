"""Molecules with bonds: SDF, MOL, mol2, SMILES and tables of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from ase import Atoms
from ase.data import vdw_radii
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdDistGeom

from forcegate_client.md.bonds import bonded_pairs
from forcegate_client.reading import InputUnreadable, Record, open_library


def made(smiles: str) -> Chem.Mol:
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(molecule, randomSeed=7) == 0
    return molecule


def drawn(smiles: str, hydrogens: bool = False) -> Chem.Mol:
    molecule = Chem.MolFromSmiles(smiles)
    molecule = Chem.AddHs(molecule) if hydrogens else molecule
    rdDepictor.Compute2DCoords(molecule)
    return molecule


def records(path: Path, text: str | bytes) -> list[Record]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    library = open_library([path])
    return library.read(0, library.size)


def block(molecule: Chem.Mol, *, v3000: bool = False) -> str:
    return str(Chem.MolToMolBlock(molecule, forceV3000=v3000, kekulize=True))


def codes(found: Iterable[Record]) -> list[str | None]:
    return [None if record.problem is None else record.problem.code for record in found]


@pytest.mark.parametrize("v3000", [False, True])
@pytest.mark.parametrize(
    ("smiles", "charge", "multiplicity"),
    [
        ("CC(N)=O", 0, 1),
        ("[O-]C(=O)CCC(=O)[O-]", -2, 1),
        ("[NH3+]CC[NH3+]", 2, 1),
        ("C[NH2+]CC(=O)[O-]", 0, 1),
        ("C[CH2]", 0, 2),
        ("[O][O]", 0, 3),
        ("c1ccc2[nH]ccc2c1", 0, 1),
        ("CS(=O)(=O)N(C)P(=O)(O)O", 0, 1),
    ],
)
def test_a_record_is_what_rdkit_says(
    tmp_path: Path, smiles: str, charge: int, multiplicity: int, v3000: bool
) -> None:
    molecule = made(smiles)
    (record,) = records(tmp_path / "in.mol", block(molecule, v3000=v3000))
    assert record.problem is None
    chunk = open_library([tmp_path / "in.mol"]).chunk(0, 1)
    expected = molecule.GetConformer().GetPositions()
    assert chunk.structures.positions == pytest.approx(expected, abs=1e-4)
    assert chunk.structures.atomic_numbers.tolist() == [
        atom.GetAtomicNum() for atom in molecule.GetAtoms()
    ]
    assert chunk.structures.charges.tolist() == [charge]
    assert chunk.structures.multiplicities.tolist() == [multiplicity]


def test_charges_of_the_atom_block_and_of_data_fields_are_charges(tmp_path: Path) -> None:
    text = block(made("[NH4+]"))
    lines = [line for line in text.splitlines() if not line.startswith("M  CHG")]
    # Old files have them as 4 - charge in a column of the atom.
    old = [line[:36] + "  3" + line[39:] if line[31:33] == "N " else line for line in lines]
    said = "\n".join(lines) + "\n> <Total_Charge>\n1\n\n"
    (tmp_path / "in.sdf").write_text("\n".join(old) + "\n$$$$\n" + said + "$$$$\n")
    # The second has three bonds too many for a neutral nitrogen, and says why.
    assert open_library([tmp_path / "in.sdf"]).chunk(0, 2).structures.charges.tolist() == [1, 1]


def test_isotopes_keep_their_mass(tmp_path: Path) -> None:
    (record,) = records(tmp_path / "in.sdf", block(made("[2H]OC")))
    assert record.atoms is not None
    assert sorted(record.atoms.get_masses())[3] == pytest.approx(2.0141, abs=1e-3)


def test_each_record_of_an_sdf_keeps_its_place_and_title(tmp_path: Path) -> None:
    good = made("CCO")
    good.SetProp("_Name", "ethanol")
    text = block(good).replace("\n", "\r\n") + "$$$$\r\n"
    broken = "broken\n" + text.partition("\n")[2].replace("V2000", "V2001")
    found = records(tmp_path / "in.sdf", text + broken + text.removesuffix("$$$$\r\n"))
    assert [record.label for record in found] == ["ethanol", "broken", "ethanol"]
    assert codes(found) == [None, "record_unreadable", None]
    assert str(found[1].origin) == f"structure 1 of {tmp_path / 'in.sdf'} (broken)"


DRAWINGS = {
    "without hydrogens": block(drawn("CC(N)C(=O)O")),
    "with hydrogens": block(drawn("CC(N)C(=O)O", hydrogens=True)),
    "that says 3D": block(drawn("CCO", hydrogens=True)).replace("          2D", "          3D"),
    "that says nothing": block(drawn("CCO")).replace("          2D", "            "),
    "of a tetrahedron": block(drawn("FC(F)(F)F")).replace("          2D", "          3D"),
    "in V3000": block(drawn("c1ccccc1"), v3000=True),
    "without bonds": block(drawn("C")),
}


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_a_drawing_is_no_structure(tmp_path: Path, drawing: str) -> None:
    assert codes(records(tmp_path / "in.sdf", DRAWINGS[drawing])) == ["no_3d_coordinates"]


@pytest.mark.parametrize("says", ["3D", "  "])
@pytest.mark.parametrize("smiles", ["c1ccccc1", "O", "C=C", "[HH]", "c1ccsc1"])
def test_a_flat_molecule_is_no_drawing(tmp_path: Path, smiles: str, says: str) -> None:
    molecule = made(smiles)
    conformer = molecule.GetConformer()
    centred = conformer.GetPositions() - conformer.GetPositions().mean(axis=0)
    flat = centred @ np.linalg.svd(centred)[2].T
    for place, (x, y, z) in enumerate(flat):
        assert abs(z) < 0.1
        conformer.SetAtomPosition(place, (float(x), float(y), 0.0))
    text = block(molecule).replace("          3D", f"          {says}", 1)
    assert codes(records(tmp_path / "in.sdf", text)) == [None]


def test_hydrogens_that_are_missing_are_counted(tmp_path: Path) -> None:
    whole = made("CC(N)C(=O)O")
    skeleton = Chem.RemoveHs(whole)
    text = "$$$$\n".join(map(block, (whole, skeleton, made("C[CH2]"), made("c1cc[nH]c1"))))
    found = records(tmp_path / "in.sdf", text)
    assert codes(found) == [None] * 4
    assert [record.origin.remark.partition(" ")[0] for record in found] == ["", "7", "", ""]


MOL2 = """\
@<TRIPOS>MOLECULE
formate
 4 3 0 0 0
SMALL
USER_CHARGES

@<TRIPOS>ATOM
      1 C1   0.0000  0.0000  0.0000 C.2    1 FMT  0.1
      2 O1   1.1200  0.5400  0.0000 O.co2  1 FMT -0.55
      3 O2  -1.1200  0.5400  0.0000 O.co2  1 FMT -0.55
      4 H1   0.0000 -1.1000  0.1000 H      1 FMT  0.0
@<TRIPOS>BOND
     1 1 2 ar
     2 1 3 ar
     3 1 4 1
"""


def test_molecules_of_mol2_have_their_charge(tmp_path: Path) -> None:
    wrong = MOL2.replace("0.1\n", "1.1\n")
    found = records(tmp_path / "in.mol2", "# made by hand\n" + MOL2 + wrong + "@<TRIPOS>MOLECULE\n")
    assert codes(found) == [None, "charge_contradictory", "record_unreadable"]
    assert [record.label for record in found] == ["formate", "formate", ""]
    assert found[0].atoms is not None
    assert found[0].atoms.info["charge"] == -1
    assert found[0].atoms.get_chemical_symbols() == ["C", "O", "O", "H"]


def closest(atoms: Atoms, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> float:
    """The smallest distance of two fragments, as a part of the sum of van der Waals radii."""
    positions, radii = atoms.positions, vdw_radii[atoms.numbers]
    distances = np.linalg.norm(positions[first][:, None] - positions[second][None], axis=2)
    return float((distances / (radii[first][:, None] + radii[second][None])).min())


@pytest.mark.parametrize(
    ("smiles", "charge"),
    [
        ("CC[NH3+].[Cl-]", 0),
        ("CCN.Cl", 0),
        ("C.C", 0),
        ("CCO.O", 0),
        ("[Na+].[Cl-]", 0),
        ("[NH4+].CC(=O)[O-].O", 0),
        ("[Ca+2].[Cl-]", 1),
        ("O.O.O.O.O.O.O.O", 0),
    ],
)
def test_fragments_of_a_smiles_lie_beside_each_other(
    tmp_path: Path, smiles: str, charge: int
) -> None:
    (record,) = records(tmp_path / "in.smi", smiles + "\n")
    atoms = record.atoms
    assert atoms is not None
    assert atoms.info.get("charge", 0) == charge
    expected = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert atoms.numbers.tolist() == [atom.GetAtomicNum() for atom in expected.GetAtoms()]
    fragments = [np.array(places) for places in Chem.GetMolFrags(expected)]
    # Bonds are where the SMILES has them, and no others.
    bonds = {
        tuple(sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())))
        for bond in expected.GetBonds()
    }
    assert bonded_pairs(atoms) == bonds
    for number, one in enumerate(fragments):
        gaps = [closest(atoms, one, other) for k, other in enumerate(fragments) if k != number]
        # In contact with another one, and in touch with none.
        assert 0.85 < min(gaps) < 1.15


def test_opposite_charges_of_a_salt_are_next_to_each_other(tmp_path: Path) -> None:
    (record,) = records(tmp_path / "in.smi", "CCCCCCCC[NH3+].[Cl-]\n")
    atoms = record.atoms
    assert atoms is not None
    to_chloride = np.linalg.norm(atoms.positions - atoms.positions[9], axis=1)
    carbons = to_chloride[atoms.numbers == 6]
    assert to_chloride[8] < carbons.max() - 5.0
    assert to_chloride[8] < 4.0


def test_lists_of_smiles_with_and_without_a_heading(tmp_path: Path) -> None:
    body = "CCO ethanol\n\nO\twater\nC,methane\n*C dummy\nnot-a-smiles broken\nN\n"
    for heading in ("", "SMILES Name\n", "smiles\tid\n", "smiles,name\n"):
        found = records(tmp_path / "in.txt", heading + body)
        assert [record.label for record in found] == [
            *("ethanol", "water", "methane", "dummy", "broken", "N"),
        ]
        assert [record.smiles for record in found] == ["CCO", "O", "C", "*C", "not-a-smiles", "N"]
        assert codes(found) == [None, None, None, "smiles_invalid", "smiles_invalid", None]


TABLES = {
    "with commas": 'id,"a note",canonical_smiles\nm1,"two\nlines, one row",CCO\nm2,,\nm3,x,[OH-]\n',
    "with tabs": "Name\tSMILES\nm1\tCCO\nm2\t\nm3\t[OH-]\n",
    "with semicolons": "SMILES;ChEMBL ID;x\r\nCCO;m1;1,5\r\n;m2;\r\n[OH-];m3;\r\n",
    "with a byte order mark": "\ufeffsmiles,name\nCCO,m1\n\n,m2\n[OH-],m3\n",
    "without a heading": "CCO,m1\nnone,m2\n[OH-],m3\n",
}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_a_column_of_smiles(tmp_path: Path, table: str) -> None:
    found = records(tmp_path / "in.csv", TABLES[table])
    assert [record.label for record in found] == ["m1", "m2", "m3"]
    assert codes(found) == [None, "smiles_invalid", None]
    assert [record.index for record in found] == [0, 1, 2]
    assert found[2].atoms is not None
    assert found[2].atoms.info["charge"] == -1


def test_a_quotation_that_is_never_closed_costs_its_row(tmp_path: Path) -> None:
    rows = 'CCO,m0\nC,"m1\n' + "".join(f"O,m{k}\n" for k in range(2, 80)) + 'N,2"-m80\n\rC,m81\n'
    found = records(tmp_path / "in.csv", "smiles,name\n" + rows)
    assert len(found) == 82
    assert [record.label for record in found[2:80]] == [f"m{k}" for k in range(2, 80)]
    assert codes(found)[:80] == [None] * 80
    assert found[80].label == '2"-m80'


def test_a_table_without_smiles_names_its_columns(tmp_path: Path) -> None:
    with pytest.raises(InputUnreadable, match=r"in\.csv with the columns x1, energy"):
        records(tmp_path / "in.csv", "x1,energy\n1,2\n")


def test_molecules_are_the_same_on_any_number_of_threads(tmp_path: Path) -> None:
    path = tmp_path / "in.smi"
    path.write_text("".join(f"{'C' * (k % 5 + 1)}O m{k}\n" for k in range(20)))
    whole = open_library([path]).chunk(0, 20)
    alone = [open_library([path]).chunk(k, k + 1) for k in range(20)]
    assert np.array_equal(
        whole.structures.positions, np.concatenate([one.structures.positions for one in alone])
    )
    assert [origin.label for origin in whole.origins] == [f"m{k}" for k in range(20)]
