"""Who a molecule is: canonical SMILES, InChIKey and the key that decides its split."""

from dataclasses import dataclass
from functools import cache

from rdkit import Chem, rdBase
from rdkit.Chem.MolStandardize import rdMolStandardize

from forcegate_client.dataset import Split
from forcegate_trainer.data.molecules.splits import COMMON_HEAVY_ATOMS, split_of
from forcegate_trainer.errors import MoleculeError

ELEMENTS = frozenset({"H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I"})
# Of a molecule; a polyanion alone in the vacuum would lose an electron.
MAX_CHARGE = 2
# Enumerating thousands of tautomers of one molecule takes seconds and finds nothing new.
MAX_TAUTOMERS = 64


@dataclass(frozen=True)
class Molecule:
    """A closed-shell, connected molecule or ion of several atoms.

    ``split_key`` is the connectivity block of the InChIKey of the canonical tautomer of the
    neutralised form: tautomers, stereoisomers and protonation states share it. ``charge`` is the
    net charge in e.
    """

    smiles: str
    name: str
    inchikey: str
    split_key: str
    heavy_atoms: int
    charge: int = 0

    def split(self, seed: int) -> Split:
        """The molecule's split, from nothing but its key, its size and a seed."""
        if self.heavy_atoms <= COMMON_HEAVY_ATOMS:
            return Split.TRAIN
        return split_of(self.split_key, seed)


def parse(smiles: str, elements: frozenset[str] = ELEMENTS) -> Chem.Mol:
    """The molecule of a SMILES string, checked.

    Raises:
        MoleculeError: if it does not parse, has several fragments, a net charge beyond
            ``MAX_CHARGE``, unpaired electrons, no atoms, or an element outside ``elements``, or is
            an ion of one atom.
    """
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        raise MoleculeError(f"received {smiles!r}, which is not a valid SMILES; correct it")
    if mol.GetNumAtoms() == 0 or "." in smiles:
        raise MoleculeError(
            f"received {smiles!r}; expected one connected molecule (dimers are made by `sample`)"
        )
    charge = Chem.GetFormalCharge(mol)
    if abs(charge) > MAX_CHARGE:
        raise MoleculeError(
            f"received {smiles!r} with charge {charge:+d}; expected {-MAX_CHARGE} to "
            f"{MAX_CHARGE:+d}: write a form with fewer charges"
        )
    if charge and Chem.AddHs(mol, onlyOnAtoms=[0]).GetNumAtoms() == 1:
        raise MoleculeError(
            f"received {smiles!r}, an ion of one atom, which has no geometry to learn; leave it out"
        )
    if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        raise MoleculeError(
            f"received {smiles!r} with unpaired electrons; expected a closed-shell molecule"
        )
    strange = sorted({atom.GetSymbol() for atom in mol.GetAtoms()} - elements)
    if strange:
        raise MoleculeError(
            f"received {smiles!r} with {', '.join(strange)}; expected only the elements "
            f"{', '.join(sorted(elements))}"
        )
    return mol


def identify(smiles: str, name: str = "") -> Molecule:
    """The identity of a SMILES string; ``MoleculeError`` as :func:`parse`."""
    mol = parse(smiles)
    canonical = Chem.MolToSmiles(mol)
    with rdBase.BlockLogs():
        inchikey = Chem.MolToInchiKey(mol)
        key = connectivity_block(tautomer_enumerator().Canonicalize(neutralised(mol)))
    if not inchikey or not key:
        raise MoleculeError(
            f"received {smiles!r}, for which no InChIKey can be computed; leave it out"
        )
    return Molecule(
        canonical,
        name or canonical,
        inchikey,
        key,
        mol.GetNumHeavyAtoms(),
        Chem.GetFormalCharge(mol),
    )


def neutralised(mol: Chem.Mol) -> Chem.Mol:
    """The molecule with as few charges as moving hydrogen ions can leave.

    What is charged without them, a quaternary ammonium or a nitro group, stays so.
    """
    if all(atom.GetFormalCharge() == 0 for atom in mol.GetAtoms()):
        return mol
    with rdBase.BlockLogs():
        return rdMolStandardize.Uncharger().uncharge(mol)


@cache
def halides() -> tuple[Molecule, ...]:
    """Halide ions: no molecules, but the commonest partners of cations.

    Each has the split key of its hydrogen halide.
    """
    found = []
    for symbol in ("F", "Cl", "Br", "I"):
        smiles = f"[{symbol}-]"
        inchikey = Chem.MolToInchiKey(Chem.MolFromSmiles(smiles))
        key = identify(symbol).split_key
        found.append(Molecule(smiles, f"{symbol} ion", inchikey, key, heavy_atoms=1, charge=-1))
    return tuple(found)


def connectivity_block(mol: Chem.Mol) -> str:
    """The first 14 letters of the InChIKey: the connectivity, without stereochemistry."""
    with rdBase.BlockLogs():
        return str(Chem.MolToInchiKey(mol)).partition("-")[0]


def tautomer_enumerator() -> rdMolStandardize.TautomerEnumerator:
    """The enumerator that defines which tautomers count as one molecule."""
    enumerator = rdMolStandardize.TautomerEnumerator()
    enumerator.SetMaxTautomers(MAX_TAUTOMERS)
    return enumerator
