"""Molecules made by small edits are chemistry, new, and never the public test."""

import pytest
from rdkit import Chem

from forcegate_trainer.errors import MoleculeError
from forcegate_trainer.molecules.exclusion import public_test_name
from forcegate_trainer.molecules.identity import ELEMENTS, identify
from forcegate_trainer.molecules.mutation import MAX_HEAVY_ATOMS, mutate

SOME = [identify(smiles) for smiles in ("CCO", "c1ccncc1", "CC(=O)N", "CS(C)(=O)=O", "CC(C)CCl")]


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
        assert Chem.GetFormalCharge(mol) == 0
        assert not any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())


def test_edits_bring_bonds_and_elements_that_the_originals_lack() -> None:
    smiles = " ".join(product.smiles for product in mutate([identify("CCO")], set(), 60, 0))
    assert all(symbol in smiles for symbol in ("N", "S", "F", "Cl", "="))


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


def test_neighbours_of_a_public_test_molecule_do_not_lead_to_it() -> None:
    # Benzene is one removal away from toluene's ring; phenol and aniline are neighbours of it.
    products = mutate([identify("Oc1ccccc1"), identify("Nc1ccccc1")], set(), 60, 3)
    assert all(public_test_name(product) is None for product in products)


def test_more_mutations_than_there_are_is_refused() -> None:
    with pytest.raises(MoleculeError, match="gave only"):
        mutate([], set(), 5, 0)
