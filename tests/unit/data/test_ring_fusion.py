"""Fused rings and bridged groups: conjugated, new, unlike what the lists have."""

import numpy as np
import pytest
from rdkit import Chem

from forcegate_trainer.data.molecules import bridging
from forcegate_trainer.data.molecules import generation as drawing
from forcegate_trainer.data.molecules.bridging import MAX_HEAVY_ATOMS as MAX_BRIDGED
from forcegate_trainer.data.molecules.bridging import bridge
from forcegate_trainer.data.molecules.exclusion import PUBLIC_TEST_MOLECULES, public_test_name
from forcegate_trainer.data.molecules.generation import draw_new
from forcegate_trainer.data.molecules.identity import ELEMENTS, Molecule, identify
from forcegate_trainer.data.molecules.ring_fusion import MAX_HEAVY_ATOMS, fuse
from forcegate_trainer.errors import MoleculeError


@pytest.fixture(scope="module")
def fused() -> list[Molecule]:
    return fuse(set(), 80, 0)


@pytest.fixture(scope="module")
def bridged() -> list[Molecule]:
    return bridge(set(), 80, 0)


@pytest.mark.parametrize("make", [fuse, bridge])
def test_products_depend_on_the_seed_alone(make) -> None:
    first, again, other = (make(set(), 15, seed) for seed in (1, 1, 2))
    assert [m.smiles for m in first] == [m.smiles for m in again]
    assert [m.smiles for m in first] != [m.smiles for m in other]


@pytest.mark.parametrize(
    ("kind", "largest"), [("fused", MAX_HEAVY_ATOMS), ("bridged", MAX_BRIDGED)]
)
def test_products_are_closed_shell_molecules_of_the_known_elements(
    kind: str, largest: int, request: pytest.FixtureRequest
) -> None:
    products = request.getfixturevalue(kind)
    assert len({product.split_key for product in products}) == 80
    for product in products:
        mol = Chem.AddHs(Chem.MolFromSmiles(product.smiles))
        assert product.heavy_atoms <= largest
        assert {atom.GetSymbol() for atom in mol.GetAtoms()} <= ELEMENTS
        assert Chem.GetFormalCharge(mol) == 0
        assert not any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
        assert public_test_name(product) is None


def test_fused_systems_share_bonds_between_rings_of_all_sizes(fused: list[Molecule]) -> None:
    sizes = set()
    for product in fused:
        mol = Chem.MolFromSmiles(product.smiles)
        rings = mol.GetRingInfo()
        assert 2 <= rings.NumRings() <= 3
        assert any(rings.NumBondRings(bond.GetIdx()) == 2 for bond in mol.GetBonds())
        sizes.update(len(ring) for ring in rings.AtomRings())
    assert sizes == {4, 5, 6, 7, 8}


def test_fused_systems_are_conjugated_nearly_throughout(fused: list[Molecule]) -> None:
    for product in fused:
        mol = Chem.MolFromSmiles(product.smiles)
        ring_atoms = [atom for atom in mol.GetAtoms() if atom.IsInRing()]
        flat = [atom.GetHybridization() == Chem.HybridizationType.SP2 for atom in ring_atoms]
        assert np.mean(flat) >= 0.6, product.smiles


def test_rings_of_five_and_seven_are_among_them() -> None:
    non_alternant = Chem.MolFromSmarts("[r7]~[r5,r7]")
    found = [
        Chem.MolFromSmiles(m.smiles).HasSubstructMatch(non_alternant) for m in fuse(set(), 80, 3)
    ]
    assert np.mean(found) > 0.3


def test_bridges_are_double_bonds_with_a_ring_at_one_end(bridged: list[Molecule]) -> None:
    bridges = Chem.MolFromSmarts("[#6;r]-[#6,#7;!r]=[#6,#7;!r]-*")
    azo = Chem.MolFromSmarts("[#6;r]-N=N-*")
    mols = [Chem.MolFromSmiles(product.smiles) for product in bridged]
    assert np.mean([mol.HasSubstructMatch(bridges) for mol in mols]) > 0.9
    assert np.mean([mol.HasSubstructMatch(azo) for mol in mols]) > 0.4


@pytest.mark.parametrize("make", [fuse, bridge])
def test_known_molecules_are_not_made_again(make) -> None:
    known = {product.split_key for product in make(set(), 15, 0)}
    assert not known & {product.split_key for product in make(known, 15, 0)}


def test_azobenzene_is_drawn_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    only = {"BRIDGES": {"N=N": 1.0}, "RINGS": ("c1ccccc1",), "ONE_RING": 0.0, "SUBSTITUTIONS": 0}
    for name, value in only.items():
        monkeypatch.setattr(bridging, name, value)
    with pytest.raises(MoleculeError, match="gave only 0"):
        bridge(set(), 1, 0)
    monkeypatch.setattr(drawing, "public_test_name", lambda molecule: None)
    assert bridge(set(), 1, 0)[0].smiles == identify(PUBLIC_TEST_MOLECULES["azobenzene"]).smiles


def test_draws_that_bring_nothing_new_come_to_an_end() -> None:
    one = identify("CCO")
    heard: list[int] = []
    with pytest.raises(MoleculeError, match=r"a wish for 2 alcohols.*gave only 1"):
        draw_new(lambda: one, set(), 2, "alcohols", heard.append)
    assert heard == [1]
