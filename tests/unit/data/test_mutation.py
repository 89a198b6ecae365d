"""Molecules made by small edits are chemistry, new, and never the public test."""

import pytest
from rdkit import Chem

from forcegate_trainer.data.molecules.exclusion import public_test_name
from forcegate_trainer.data.molecules.identity import ELEMENTS, MAX_CHARGE, Molecule, identify
from forcegate_trainer.data.molecules.mutation import MAX_HEAVY_ATOMS, mutate
from forcegate_trainer.errors import MoleculeError

SOME = [identify(smiles) for smiles in ("CCO", "c1ccncc1", "CC(=O)N", "CS(C)(=O)=O", "CC(C)CCl")]


@pytest.fixture(scope="module")
def many() -> list[Molecule]:
    seeds = ("CCB(O)O", "C[Si](C)(C)O", "CP(C)(C)=O", "ICCBr", "CC[NH3+]", "CSC", "OOC", "NNC")
    return mutate([identify(smiles) for smiles in seeds], set(), 120, 0)


def test_mutation_depends_on_the_seed_alone() -> None:
    first, again, other = (mutate(SOME, set(), 20, seed) for seed in (1, 1, 2))
    assert [m.smiles for m in first] == [m.smiles for m in again]
    assert [m.smiles for m in first] != [m.smiles for m in other]


def test_products_are_new_closed_shell_molecules_of_the_known_elements() -> None:
    products = mutate(SOME, set(), 60, 0)
    keys = [product.split_key for product in products]
    assert len(set(keys)) == 60
    assert not set(keys) & {molecule.split_key for molecule in SOME}
    for product in products:
        mol = Chem.AddHs(Chem.MolFromSmiles(product.smiles))
        assert product.heavy_atoms <= MAX_HEAVY_ATOMS
        assert {atom.GetSymbol() for atom in mol.GetAtoms()} <= ELEMENTS
        assert Chem.GetFormalCharge(mol) == product.charge
        assert abs(product.charge) <= MAX_CHARGE
        assert not any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())


def test_edits_bring_bonds_and_elements_that_the_originals_lack() -> None:
    smiles = " ".join(product.smiles for product in mutate([identify("CCO")], set(), 120, 0))
    assert all(symbol in smiles for symbol in ("N", "S", "F", "Cl", "Br", "I", "B", "Si", "P", "="))


def test_known_molecules_are_not_made_again() -> None:
    known = {product.split_key for product in mutate(SOME, set(), 20, 0)}
    assert not known & {product.split_key for product in mutate(SOME, known, 20, 0)}


def test_peroxides_of_three_and_bare_hypervalent_sulfur_are_not_made() -> None:
    chain = Chem.MolFromSmarts("[N,O]-[N,O]-[N,O,F,Cl]")
    ylide = Chem.MolFromSmarts("[#16;v4,v6;!$([#16]=[O,N])]")
    for product in mutate([identify("CSOC"), identify("NNC"), identify("OOC")], set(), 60, 0):
        mol = Chem.MolFromSmiles(product.smiles)
        assert not mol.HasSubstructMatch(chain), product.smiles
        assert not mol.HasSubstructMatch(ylide), product.smiles


@pytest.mark.parametrize(
    "unwanted",
    [
        "O-O", "[B,Si,P]-I", "[B]-[Cl,Br,S,Si,P]", "[#5,#14]=*", "[Cl,Br,I;!X1]", "[+]~[+]",
        "[-]~[-]", "[CX4]-[N+]#N", "[#15;v5;!$([#15]=[O,S,N])]",
    ],
)  # fmt: skip
def test_what_no_chemist_draws_is_not_made(unwanted: str, many: list[Molecule]) -> None:
    pattern = Chem.MolFromSmarts(unwanted)
    found = [m.smiles for m in many if Chem.MolFromSmiles(m.smiles).HasSubstructMatch(pattern)]
    assert not found


def test_neighbours_of_a_public_test_molecule_do_not_lead_to_it() -> None:
    # Benzene is one removal away from toluene's ring; phenol and aniline are neighbours of it.
    products = mutate([identify("Oc1ccccc1"), identify("Nc1ccccc1")], set(), 60, 3)
    assert all(public_test_name(product) is None for product in products)


def test_more_mutations_than_there_are_is_refused() -> None:
    with pytest.raises(MoleculeError, match="gave only"):
        mutate([], set(), 5, 0)
