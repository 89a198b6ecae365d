"""Ions are made of molecules by moving hydrogen ions, where chemists would; so are peptides."""

from collections import Counter

import pytest
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from forcegate_trainer.data.molecules.charges import ChargeClass, charge_class
from forcegate_trainer.data.molecules.identity import Molecule, identify
from forcegate_trainer.data.molecules.ionisation import ionise
from forcegate_trainer.data.molecules.peptides import peptides
from forcegate_trainer.errors import MoleculeError

PARENTS = [
    identify(smiles)
    for smiles in (
        "NCCC(=O)O", "CCN(C)C", "Oc1ccc(Cl)cc1", "CC(=O)CC(C)=O", "c1ccncc1CCS", "CP(C)CCO",
        "OB(O)c1ccc(CN)cc1", "NC(=N)c1ccccc1", "COP(=O)(O)O", "NS(=O)(=O)c1ccccc1",
        "NCCCCN", "OC(=O)CCCCC(=O)O", "Cc1c[nH]cn1", "BrCCC(=O)O", "C[Si](C)(C)CCN",
    )
]  # fmt: skip


@pytest.fixture(scope="module")
def ions() -> list[Molecule]:
    return ionise(PARENTS, set(), 30, 0)


def test_ions_differ_from_a_given_molecule_by_hydrogen_ions_alone(ions: list[Molecule]) -> None:
    parents = {molecule.split_key: molecule for molecule in PARENTS}
    for ion in ions:
        parent = parents[ion.split_key]
        heavy = [
            Counter(atom.GetSymbol() for atom in Chem.MolFromSmiles(m.smiles).GetAtoms())
            for m in (ion, parent)
        ]
        assert heavy[0] == heavy[1]
        hydrogens = [
            sum(atom.GetTotalNumHs() for atom in Chem.MolFromSmiles(m.smiles).GetAtoms())
            for m in (ion, parent)
        ]
        assert hydrogens[0] - hydrogens[1] == ion.charge, CalcMolFormula(
            Chem.MolFromSmiles(ion.smiles)
        )


def test_there_are_cations_anions_and_zwitterions_and_none_twice(ions: list[Molecule]) -> None:
    kinds = Counter(charge_class(Chem.MolFromSmiles(ion.smiles)) for ion in ions)
    assert set(kinds) == {ChargeClass.CATION, ChargeClass.ANION, ChargeClass.ZWITTERION}
    assert len({ion.smiles for ion in ions}) == len(ions)
    assert {abs(ion.charge) for ion in ions} == {0, 1, 2}


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("NCCCCCC(=O)O", {"[NH3+]CCCCCC(=O)[O-]", "[NH3+]CCCCCC(=O)O", "NCCCCCC(=O)[O-]"}),
        ("OC(=O)c1ccncc1", {"O=C([O-])c1cc[nH+]cc1", "O=C(O)c1cc[nH+]cc1", "O=C([O-])c1ccncc1"}),
    ],
)
def test_the_ions_of_an_amino_acid_come_first(smiles: str, expected: set[str]) -> None:
    found = [ion.smiles for seed in range(4) for ion in ionise([identify(smiles)], set(), 3, seed)]
    frequent = {ion for ion, _ in Counter(found).most_common(3)}
    assert frequent == {Chem.CanonSmiles(one) for one in expected}


def test_a_nitrile_is_left_alone_and_more_ions_than_there_are_are_refused() -> None:
    with pytest.raises(MoleculeError, match="gave only 0"):
        ionise([identify("CC#N")], set(), 1, 0)


def test_ions_depend_on_the_seed_alone() -> None:
    first, again, other = (ionise(PARENTS, set(), 12, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_public_test_has_no_ions() -> None:
    aspirin = identify("CC(=O)Oc1ccccc1C(=O)O")
    for ion in ionise([aspirin, identify("CCN")], set(), 1, 0):
        assert ion.split_key != aspirin.split_key


def test_peptides_are_chains_of_amino_acids_free_capped_and_charged() -> None:
    products = peptides(set(), 60, 0)
    bond = Chem.MolFromSmarts("[NX3][CX3](=O)[#6]")
    kinds: Counter[ChargeClass] = Counter()
    for product in products:
        mol = Chem.MolFromSmiles(product.smiles)
        assert 1 <= len(mol.GetSubstructMatches(bond)) <= 10
        kinds[charge_class(mol)] += 1
    assert len({product.split_key for product in products}) == 60
    assert set(kinds) == set(ChargeClass)
    assert peptides(set(), 10, 0) == products[:10]
