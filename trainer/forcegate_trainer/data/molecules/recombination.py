"""New molecules out of fragments of known ones (BRICS, Degen et al. 2008)."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import BRICS

from forcegate_trainer.data.molecules.generation import CHARGED_SHARE, accepted, draw_new
from forcegate_trainer.data.molecules.identity import Molecule
from forcegate_trainer.errors import MoleculeError

# Half of the products are small, since labels cost with the size; the others reach the sizes of
# drugs. Largest sizes, with their shares.
LARGEST_HEAVY_ATOMS = {14: 0.50, 22: 0.30, 32: 0.14, 50: 0.06}
SMALLEST_HEAVY_ATOMS = 4
MOST_FRAGMENTS = 6
MAX_FRAGMENT_HEAVY_ATOMS = 14
MAX_VAIN_DRAWS = 2000
DOUBLE = "="


def _partners() -> dict[str, dict[str, str]]:
    """Which kinds of cut ends belong together, and by which bond."""
    partners: dict[str, dict[str, str]] = {}
    for first, second, bond in chain.from_iterable(BRICS.reactionDefs):
        # The two ends of a double bond are one kind, of which each has its own letter.
        kinds = first.rstrip("ab"), second.rstrip("ab")
        for kind, other in (kinds, kinds[::-1]):
            partners.setdefault(kind, {})[other] = bond
    return partners


PARTNERS = _partners()


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
    fragments = _by_open_end(fragments_of(molecules))
    pieces = [piece for group in fragments.values() for piece in group]
    rng = np.random.default_rng(seed)

    def draw() -> Molecule | None:
        return _joined(fragments, pieces, rng) if pieces else None

    known = {molecule.split_key for molecule in molecules}
    return draw_new(draw, known, count, "recombined molecules", on_progress)


def _by_open_end(fragments: Sequence[str]) -> dict[str, list[Chem.Mol]]:
    """The fragments by each kind of end at which they were cut."""
    found: dict[str, list[Chem.Mol]] = {}
    for smiles in fragments:
        mol = Chem.MolFromSmiles(smiles)
        for kind in sorted({_kind(atom) for atom in _ends(mol)}):
            found.setdefault(kind, []).append(mol)
    return found


def _joined(
    fragments: Mapping[str, Sequence[Chem.Mol]],
    pieces: Sequence[Chem.Mol],
    rng: np.random.Generator,
) -> Molecule | None:
    """Fragments joined at their ends up to a random size; what stays open gets a hydrogen."""
    limit = int(rng.choice(list(LARGEST_HEAVY_ATOMS), p=list(LARGEST_HEAVY_ATOMS.values())))
    mol = Chem.RWMol(pieces[int(rng.integers(len(pieces)))])
    for _ in range(int(rng.integers(1, MOST_FRAGMENTS))):
        ends = _ends(mol)
        if not ends:
            break
        end = ends[rng.integers(len(ends))]
        partners = PARTNERS.get(_kind(end), {})
        kinds = [kind for kind in partners if fragments.get(kind)]
        if not kinds:
            continue
        kind = kinds[rng.integers(len(kinds))]
        piece = fragments[kind][int(rng.integers(len(fragments[kind])))]
        if _real_atoms(mol) + _real_atoms(piece) <= limit:
            _join(mol, end.GetIdx(), piece, kind, partners[kind])
    if Chem.GetFormalCharge(mol) and rng.random() > CHARGED_SHARE:
        return None
    try:
        with rdBase.BlockLogs():
            return accepted(_closed(mol), limit)
    except (MoleculeError, Chem.MolSanitizeException):
        return None


def _join(mol: Chem.RWMol, end: int, piece: Chem.Mol, kind: str, bond: str) -> None:
    """Bond the neighbours of two ends to each other, and take both ends away."""
    shift = mol.GetNumAtoms()
    other = shift + next(atom.GetIdx() for atom in _ends(piece) if _kind(atom) == kind)
    mol.InsertMol(piece)
    first, second = (mol.GetAtomWithIdx(index).GetNeighbors()[0].GetIdx() for index in (end, other))
    order = Chem.BondType.DOUBLE if bond == DOUBLE else Chem.BondType.SINGLE
    mol.AddBond(first, second, order)
    for index in sorted((end, other), reverse=True):
        mol.RemoveAtom(index)


def _closed(mol: Chem.RWMol) -> Chem.Mol:
    """The sanitized molecule with hydrogens at the ends that are still open."""
    for atom in _ends(mol):
        atom.SetIsotope(0)
        atom.SetAtomicNum(1)
    Chem.SanitizeMol(mol)
    return Chem.RemoveHs(mol)


def _ends(mol: Chem.Mol) -> list[Chem.Atom]:
    return [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0]


def _kind(end: Chem.Atom) -> str:
    """BRICS marks a cut end's kind by an isotope."""
    return str(end.GetIsotope())


def _real_atoms(mol: Chem.Mol) -> int:
    return sum(1 for atom in mol.GetAtoms() if atom.GetAtomicNum() > 0)
