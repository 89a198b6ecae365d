"""New molecules out of fragments of known ones (BRICS, Degen et al. 2008)."""

from collections.abc import Callable, Sequence

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import BRICS

from forcegate_trainer.errors import MoleculeError
from forcegate_trainer.molecules.exclusion import public_test_name
from forcegate_trainer.molecules.identity import Molecule, identify

# Most products are small, since the teacher's cost grows with the cube of the size; some draws may
# reach larger sizes, so that the student has met such molecules. Sizes, with their shares.
LARGEST_HEAVY_ATOMS = {14: 0.80, 21: 0.14, 40: 0.06}
SMALLEST_HEAVY_ATOMS = 4
FRAGMENTS_AT_ONCE = 5
PRODUCTS_OF_A_DRAW = 3
MAX_FRAGMENT_HEAVY_ATOMS = 12
MAX_VAIN_DRAWS = 200


def fragments_of(molecules: Sequence[Molecule]) -> list[str]:
    """BRICS fragments of the molecules, sorted, small enough to be recombined."""
    found: set[str] = set()
    for molecule in molecules:
        mol = Chem.MolFromSmiles(molecule.smiles)
        found.update(BRICS.BRICSDecompose(mol, minFragmentSize=1))
    return sorted(
        smiles
        for smiles in found
        if "*" in smiles and _real_atoms(Chem.MolFromSmiles(smiles)) <= MAX_FRAGMENT_HEAVY_ATOMS
    )


def recombine(
    molecules: Sequence[Molecule],
    count: int,
    seed: int,
    on_progress: Callable[[int], None] = lambda found: None,
) -> list[Molecule]:
    """``count`` molecules that are not among the given ones, nor public test molecules.

    The same molecules, count and seed give the same products.

    Raises:
        MoleculeError: if the fragments do not allow that many.
    """
    fragments = fragments_of(molecules)
    known = {molecule.split_key for molecule in molecules}
    products: list[Molecule] = []
    rng = np.random.default_rng(seed)
    draws_without_success = 0
    while len(products) < count:
        limit = int(rng.choice(list(LARGEST_HEAVY_ATOMS), p=list(LARGEST_HEAVY_ATOMS.values())))
        before = len(products)
        if len(fragments) >= 2:
            for product in _products_of_a_draw(fragments, limit, rng):
                if product.split_key not in known and len(products) < count:
                    known.add(product.split_key)
                    products.append(product)
        on_progress(len(products))
        draws_without_success = 0 if len(products) > before else draws_without_success + 1
        if draws_without_success > MAX_VAIN_DRAWS:
            raise MoleculeError(
                f"received a wish for {count} recombined molecules, but {len(fragments)} fragments "
                f"of {len(molecules)} molecules gave only {len(products)}; ask for fewer, or give "
                "more molecules"
            )
    return products


def _products_of_a_draw(
    fragments: Sequence[str], limit: int, rng: np.random.Generator
) -> list[Molecule]:
    chosen = rng.choice(len(fragments), size=min(FRAGMENTS_AT_ONCE, len(fragments)), replace=False)
    building_blocks = [Chem.MolFromSmiles(fragments[index]) for index in chosen]
    products: dict[str, Molecule] = {}
    with rdBase.BlockLogs():
        built = BRICS.BRICSBuild(building_blocks, scrambleReagents=False, maxDepth=2)
        for tried, mol in enumerate(built):
            if tried >= 40 or len(products) >= PRODUCTS_OF_A_DRAW:
                break
            mol.UpdatePropertyCache(strict=False)
            heavy_atoms = mol.GetNumHeavyAtoms()
            # Taking most products of a draw would fill the list with siblings of one fragment.
            if not SMALLEST_HEAVY_ATOMS <= heavy_atoms <= limit or rng.random() < 0.5:
                continue
            try:
                product = identify(Chem.MolToSmiles(mol))
            except MoleculeError:
                continue
            if public_test_name(product) is None:
                products.setdefault(product.split_key, product)
    return list(products.values())


def _real_atoms(mol: Chem.Mol) -> int:
    return sum(1 for atom in mol.GetAtoms() if atom.GetAtomicNum() > 0)
