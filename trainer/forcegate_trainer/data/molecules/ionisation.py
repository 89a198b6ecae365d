"""Ions and zwitterions of molecules: hydrogen ions taken off acids and put on bases.

Sites are found by SMARTS. They are weighted by how often chemists meet the ion: carboxylates and
ammonium ions first, enolates and protonated amides last.
"""

from collections.abc import Callable, Sequence

import numpy as np
from rdkit import Chem, rdBase

from forcegate_trainer.data.molecules.charges import ChargeClass, charge_class
from forcegate_trainer.data.molecules.exclusion import public_test_name
from forcegate_trainer.data.molecules.identity import Molecule, identify
from forcegate_trainer.errors import MoleculeError

__all__ = ["ionise"]

# The first atom loses a hydrogen ion.
ACIDS = {
    "[OX2H]-C=O": 10.0,
    "[OX2H]-S(=O)=O": 10.0,
    "[OX2H]-P=[O,S]": 10.0,
    "[SX2H]": 4.0,
    "[OX2H]-c": 4.0,
    "[NX3;H1,H2]-S(=O)=O": 3.0,
    "[NX3;H1](C=O)C=O": 3.0,
    "[nH]1nnnc1": 5.0,
    "[nH]1nncn1": 5.0,
    "[nH]": 1.0,
    "[OX2H]-N": 2.0,
    "[OX2H]-[#6]=[#6]": 2.0,
    "[CX4;H1,H2](-[C,S,N,P]=O)-[C,S,N,P](=O)": 2.0,
    "[CX4;H1,H2](C#N)-[C,S](=O)": 2.0,
    "[CX4;H1,H2,H3]-[$(C(=O)[#6]),$([N+](=O)[O-])]": 0.5,
    "[OX2H]-[CX4]": 0.5,
    "[NX3;H1,H2]-C=O": 0.5,
    "[NX3;H1,H2]-c": 0.3,
    "[OX2H]-[Si]": 0.5,
    "[CX2;H1]#C": 0.3,
    "[PX3;H1,H2]": 0.3,
}
# The first atom gains one.
BASES = {
    "[NX3;!$(N~[!#6;!#1]);!$(N-[*]=,#,:[*])]": 10.0,
    "[NX2]=C-[NX3]": 8.0,
    "[nX2;r5]:c:[nH,$(n-C)]": 6.0,
    "[nX2;r6]": 5.0,
    "[nX2;r5]": 1.5,
    "[NX2;!$(N=[N,O,S,P,Si])]=[#6]": 2.0,
    "[NX3;H0,H1,H2;!$(N~[!#6])]-c": 1.5,
    "[PX3;!$(P~[!#6;!#1])]": 2.0,
    "[NX3]-[N,O;X3,X2]": 0.7,
    "[OX1]=C-[NX3]": 0.5,
    "[OX1]=[P,N+0]": 0.7,
    "[OX1]=[#6]": 0.3,
    "[OX2;!$(O~[!#6;!#1]);!$(O-[*]=,#[*])]": 0.3,
    "[SX2;!$(S~[!#6;!#1]);!$(S-[*]=,#[*])]": 0.2,
}
# Acids that give up a hydrogen ion to a base of the same molecule in water, and such bases.
STRONG = 3.0
KINDS = {"cation": 0.35, "anion": 0.35, "zwitterion": 0.22, "dication": 0.04, "dianion": 0.04}
MAX_VAIN_DRAWS = 2000

_Sites = tuple[tuple[Chem.Mol, float], ...]
_ACIDS: _Sites = tuple((Chem.MolFromSmarts(smarts), weight) for smarts, weight in ACIDS.items())
_BASES: _Sites = tuple((Chem.MolFromSmarts(smarts), weight) for smarts, weight in BASES.items())


def ionise(
    molecules: Sequence[Molecule],
    known: set[str],
    count: int,
    seed: int,
    on_progress: Callable[[int], None] = lambda found: None,
) -> list[Molecule]:
    """``count`` ions and zwitterions of the given molecules, none with a SMILES in ``known``.

    An ion keeps its molecule's split key. The same arguments give the same ions.

    Raises:
        MoleculeError: if draws in a row bring nothing new.
    """
    rng = np.random.default_rng((seed, 4))
    taken = known | {molecule.smiles for molecule in molecules}
    ions: list[Molecule] = []
    vain = 0
    while len(ions) < count:
        vain += 1
        if vain > MAX_VAIN_DRAWS or not molecules:
            raise MoleculeError(
                f"received a wish for {count} ions, but {len(molecules)} molecules gave only "
                f"{len(ions)}; ask for fewer, or give more molecules"
            )
        ion = _ion(molecules[int(rng.integers(len(molecules)))], rng)
        if ion is not None and ion.smiles not in taken and public_test_name(ion) is None:
            taken.add(ion.smiles)
            ions.append(ion)
            on_progress(len(ions))
            vain = 0
    return ions


def _ion(molecule: Molecule, rng: np.random.Generator) -> Molecule | None:
    """A random ion of a neutral molecule; None if it has no site for what was drawn."""
    mol = Chem.RWMol(Chem.MolFromSmiles(molecule.smiles))
    if charge_class(mol) != ChargeClass.NEUTRAL:
        return None
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    lost = {"anion": 1, "dianion": 2, "zwitterion": 1}.get(kind, 0)
    gained = {"cation": 1, "dication": 2, "zwitterion": 1}.get(kind, 0)
    # A weak acid of its own keeps its hydrogen beside a base, and two charges need strong sites.
    at_least = STRONG if lost + gained > 1 else 0.0
    acids = _chosen(mol, _ACIDS, lost, at_least, rng)
    bases = _chosen(mol, _BASES, gained, at_least, rng)
    if acids is None or bases is None or set(acids) & set(bases):
        return None
    if not acids and not bases:
        return None
    for index in acids:
        _shift(mol.GetAtomWithIdx(index), -1)
    for index in bases:
        _shift(mol.GetAtomWithIdx(index), 1)
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(mol)
            ion = identify(Chem.MolToSmiles(mol))
    except (MoleculeError, Chem.MolSanitizeException):
        return None
    return ion if ion.split_key == molecule.split_key else None


def _chosen(
    mol: Chem.Mol, sites: _Sites, count: int, at_least: float, rng: np.random.Generator
) -> list[int] | None:
    """``count`` different sites by their weights; None if there are fewer.

    An atom that several patterns match counts as the first. None at all is also a matter of
    weight: a molecule with weak sites only is mostly left alone.
    """
    if count == 0:
        return []
    weights: dict[int, float] = {}
    for pattern, weight in sites:
        for match in mol.GetSubstructMatches(pattern):
            if weight >= at_least:
                weights.setdefault(match[0], weight)
    if len(weights) < count or rng.random() > (max(weights.values()) / STRONG) ** 2:
        return None
    values = np.array(list(weights.values()))
    chosen = rng.choice(list(weights), size=count, replace=False, p=values / values.sum())
    return [int(index) for index in chosen]


def _shift(atom: Chem.Atom, charge: int) -> None:
    """Add or take a hydrogen ion."""
    hydrogens = atom.GetTotalNumHs()
    atom.SetFormalCharge(atom.GetFormalCharge() + charge)
    atom.SetNoImplicit(True)
    atom.SetNumExplicitHs(hydrogens + charge)
