"""What kinds of molecules a dataset has: charge classes and functional groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from rdkit import Chem, rdBase

from forcegate_trainer.data.molecules.charges import charge_class

__all__ = ["GROUPS", "Chemistry", "chemistry_of"]

GROUPS = {
    "alkene": "[CX3]=[CX3]",
    "alkyne": "C#C",
    "arene": "c1ccccc1",
    "heteroarene": "[a;r5,r6;!c]",
    "alcohol": "[CX4][OX2H]",
    "phenol or phenolate": "c[$([OX2H]),$([O-])]",
    "ether": "[#6;!$(C=O)][OX2;!r3][#6;!$(C=O)]",
    "epoxide or aziridine": "[O,N;r3]",
    "aldehyde": "[CX3;H1,H2]=[OX1]",
    "ketone": "[#6][CX3](=O)[#6]",
    "carboxylic acid": "C(=O)[OX2H]",
    "carboxylate": "C(=O)[O-]",
    "ester": "[CX3](=O)[OX2][#6]",
    "amide": "[CX3](=O)[NX3]",
    "urea or carbamate": "[NX3][CX3](=O)[N,O;X2,X3]",
    "imide": "[CX3](=O)[NX3][CX3]=O",
    "acyl halide": "[CX3](=O)[F,Cl,Br,I]",
    "aliphatic amine": "[NX3;!$(N~[!#6]);!$(N-[*]=,#,:[*])]",
    "aniline": "c[NX3;!$(N~[!#6;!#1]);!$(NC=[O,S,N])]",
    "ammonium": "[NX4+]",
    "pyridinium or azolium": "[n+;!$([n+][O-])]",
    "amidinium or guanidinium": "[NX3][CX3]=[N+]",
    "amidine or guanidine": "[NX3][CX3]=[NX2]",
    "imine, oxime or hydrazone": "[CX3;!$(C-N)]=[NX2]",
    "nitrile": "C#[NX1]",
    "isocyanate or isothiocyanate": "N=C=[O,S]",
    "azide, diazo or diazonium": "[$([#7]=[N+]=[N-]),$([#6]=[N+]=[N-]),$([N+]#N)]",
    "azo": "[#6]N=N[#6]",
    "nitro or nitrate": "[N+](=O)[O-]",
    "N-oxide": "[#7+;!$([N+]=O)][O-]",
    "N-N or N-O single bond": "[NX3]-[NX3,OX2,O-]",
    "thiol": "[#6][SX2H]",
    "thiolate": "[#6][S-]",
    "thioether": "[#6][SX2][#6]",
    "disulfide": "[SX2][SX2]",
    "thiocarbonyl": "[#6]=S",
    "sulfoxide": "[#6]S(=O)[#6]",
    "sulfone": "[#6]S(=O)(=O)[#6]",
    "sulfonamide": "S(=O)(=O)[#7]",
    "sulfonic acid, ester or sulfate": "S(=O)(=O)[OX2]",
    "sulfonate": "S(=O)(=O)[O-]",
    "sulfonium": "[SX3+;!$(S[O-])]",
    "C-F": "[#6]F",
    "C-Cl": "[#6]Cl",
    "C-Br": "[#6]Br",
    "C-I": "[#6]I",
    "trifluoromethyl": "C(F)(F)F",
    "boronic acid": "[#6]B([OX2H])[OX2H]",
    "boronic ester": "[#6][BX3]([OX2][#6])[OX2][#6]",
    "B-N": "[#5]~[#7]",
    "borate": "[B-]",
    "silane": "[$([Si]([#6])([#6])([#6])[#6]),$([SiH,SiH2,SiH3][#6])]",
    "silyl ether or siloxane": "[Si]O",
    "Si-N, Si-S or silyl halide": "[Si][N,S,F,Cl,Br]",
    "phosphine": "[PX3;!$(P~[!#6;!#1])]",
    "phosphine oxide": "[PX4](=[O,S])([#6])([#6,#1])[#6,#1]",
    "phosphate": "[PX4](=[O,S])([O,S])([O,S])[O,S]",
    "phosphonate": "[PX4](=O)([O])([O])[#6]",
    "phosphoramide": "P[#7]",
    "phosphonium": "[PX4+]",
    "phosphite or phosphorus halide": "[PX3][O,F,Cl,Br]",
}


@dataclass(frozen=True)
class Chemistry:
    """Of single molecules: how many of each charge class, and how many have each group.

    ``unreadable`` molecules have no SMILES, as what was captured and not identified yet.
    """

    charges: Mapping[str, int]
    groups: Mapping[str, int]
    unreadable: int


@cache
def _patterns() -> dict[str, Chem.Mol]:
    return {name: Chem.MolFromSmarts(smarts) for name, smarts in GROUPS.items()}


def chemistry_of(smiles: Iterable[str]) -> Chemistry:
    """Count the molecules of these SMILES."""
    charges: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    unreadable = 0
    with rdBase.BlockLogs():
        parsed: Iterable[Chem.Mol | None] = map(Chem.MolFromSmiles, smiles)
        for mol in parsed:
            if mol is None:
                unreadable += 1
                continue
            charges[str(charge_class(mol))] += 1
            groups.update(n for n, pattern in _patterns().items() if mol.HasSubstructMatch(pattern))
    return Chemistry(
        dict(charges.most_common()), {name: groups[name] for name in GROUPS}, unreadable
    )
