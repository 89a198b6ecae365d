"""Recombination makes a share of large molecules, so that a student has met such."""

from functools import cache

import pytest
from rdkit import Chem

from forcegate_trainer.data.molecules.exclusion import public_test_name
from forcegate_trainer.data.molecules.identity import Molecule, identify
from forcegate_trainer.data.molecules.recombination import (
    LARGEST_HEAVY_ATOMS,
    MAX_FRAGMENT_HEAVY_ATOMS,
    fragments_of,
    recombine,
)
from forcegate_trainer.data.molecules.structures import conformers, hydrogenated

# Their fragments are large enough for products beyond the usual size.
LARGE = (
    "O=C(NCc1ccccc1)c1ccc2ccccc2c1",
    "COc1ccc2nc(SCC(=O)N(C)C)sc2c1",
    "O=S(=O)(Nc1ccccn1)c1ccc(Cl)cc1",
    "FC(F)(F)c1ccc(CN2CCOCC2)cc1",
)
USUAL = min(LARGEST_HEAVY_ATOMS)
COUNT = 24


@cache
def parents() -> tuple[Molecule, ...]:
    return tuple(identify(smiles) for smiles in LARGE)


@cache
def products() -> tuple[Molecule, ...]:
    return tuple(recombine(parents(), COUNT, 0))


def test_the_shares_of_the_sizes_are_of_one_whole_and_the_largest_is_the_rarest() -> None:
    sizes = sorted(LARGEST_HEAVY_ATOMS)
    shares = [LARGEST_HEAVY_ATOMS[size] for size in sizes]
    assert sum(shares) == pytest.approx(1.0)
    assert shares == sorted(shares, reverse=True)


def test_large_fragments_give_some_large_molecules_but_mostly_small_ones() -> None:
    large = [product for product in products() if product.heavy_atoms > USUAL]
    assert 0 < len(large) < COUNT / 2
    assert max(product.heavy_atoms for product in products()) <= max(LARGEST_HEAVY_ATOMS)


def test_products_have_the_rings_of_the_given_molecules_and_no_others() -> None:
    known = {ring for parent in parents() for ring in _rings(parent)}
    for product in products():
        assert _rings(product) <= known, product.smiles
    assert {ring for product in products() for ring in _rings(product)} == known


def test_fragments_stay_small_whatever_they_come_from() -> None:
    # A steroid has no bond that is cut: as a fragment it would make nothing but steroids.
    steroid = identify("CC(=O)OC1CCC2(C)C(CCC3C2CCC2(C)C(C)CCC32)C1")
    for fragment in fragments_of([*parents(), steroid]):
        assert _bare(Chem.MolFromSmiles(fragment)).GetNumAtoms() <= MAX_FRAGMENT_HEAVY_ATOMS


def test_asking_for_more_adds_to_the_same_molecules() -> None:
    assert recombine(parents(), 8, 0) == list(products()[:8])


def test_progress_is_told_up_to_the_end() -> None:
    told: list[int] = []
    recombine(parents(), 5, 1, told.append)
    assert told == sorted(told)
    assert told[-1] == 5


def test_a_public_test_molecule_of_more_than_usual_size_is_not_made() -> None:
    # Ibuprofen's ring, its isobutyl group and its acid are all among the fragments.
    made_of = [identify(s) for s in ("CC(C)Cc1ccc(-c2ccccc2)cc1", "CC(C(=O)O)c1ccc(-c2ccncc2)cc1")]
    fragments = fragments_of(made_of)
    assert {"[16*]c1ccc([16*])cc1", "[8*]CC(C)C", "[8*]C(C)C(=O)O"} <= set(fragments)
    for product in recombine(made_of, 12, 0):
        assert public_test_name(product) is None


def test_the_largest_product_can_be_given_a_geometry() -> None:
    largest = max(products(), key=lambda product: product.heavy_atoms)
    molecule = hydrogenated(largest.smiles)
    positions = conformers(molecule, 1, 0)
    assert len(positions) == 1
    assert positions[0].shape == (molecule.GetNumAtoms(), 3)


def _rings(molecule: Molecule) -> set[str]:
    mol = Chem.MolFromSmiles(molecule.smiles)
    return {Chem.MolFragmentToSmiles(mol, ring) for ring in mol.GetRingInfo().AtomRings()}


def _bare(fragment: Chem.Mol) -> Chem.Mol:
    """The fragment without the places where it was cut."""
    bare = Chem.DeleteSubstructs(fragment, Chem.MolFromSmarts("[#0]"))
    return Chem.MolFromSmiles(Chem.MolToSmiles(bare))
