"""Functional groups that edits put in the place of a hydrogen, by how often they are drawn.

Each is SMILES whose first atom is bonded. What is common in molecules has large weights; the
elements that lists have little of have many groups, so that none of their bonds is rare.
"""

import numpy as np
from rdkit import Chem

__all__ = ["GROUPS", "plain_group", "random_group"]

# Weights of one group of a family; a family with more groups is drawn more often.
GROUPS: dict[str, float] = {
    # Carbon, nitrogen, oxygen.
    **dict.fromkeys(("C", "O", "N", "OC", "C#N", "C=O", "F", "Cl"), 2.0),
    **dict.fromkeys(
        (
            "CC", "C(C)C", "C(C)(C)C", "C=C", "C#C", "CO", "CN", "C1CC1", "c1ccccc1", "Cc1ccccc1",
            "C(C)=O", "C(=O)O", "C(=O)OC", "C(N)=O", "C(=O)NC", "NC(C)=O", "NC", "N(C)C", "OC(C)=O",
            "N1CCOCC1", "N1CCN(C)CC1", "N1CCCC1", "c1ccncc1", "[nH]1cccn1", "[nH]1ccnc1", "c1ccco1",
            "C(F)(F)F", "OC(F)(F)F", "C(F)F", "OC(F)F", "[N+](=O)[O-]", "C(C)(C)O", "OCC", "OCCO",
        ),
        0.8,
    ),
    **dict.fromkeys(
        (
            "N=O", "NO", "ON", "NN", "N=[N+]=[N-]", "N=C=O", "N=C=S", "C=NO", "C=NC", "C(N)=N",
            "NC(N)=N", "NC(N)=O", "NC(=S)N", "NC(=O)OC", "OC(N)=O", "C(Cl)=O", "C(F)=O", "C(=O)C=C",
            "C=CC(=O)OC", "C(Cl)(Cl)Cl", "CCl", "C(C)=NO", "C(=O)NO", "N=NC", "ON=O",
            "O[N+](=O)[O-]", "C1CO1", "N1CC1", "c1nnn[nH]1", "c1nnco1", "[nH]1nncc1", "B1OCCO1",
            "[N+]#[C-]",
        ),
        0.25,
    ),
    # Sulfur.
    **dict.fromkeys(
        (
            "S", "SC", "S(C)(=O)=O", "S(N)(=O)=O", "S(=O)(=O)NC", "NS(C)(=O)=O", "S(C)=O", "CS",
            "C(=O)S", "C(C)=S", "C(N)=S", "c1cccs1", "c1nccs1",
        ),
        0.7,
    ),
    **dict.fromkeys(
        (
            "SSC", "SC#N", "S(=O)(=O)O", "S(=O)(=O)OC", "OS(C)(=O)=O", "S(=O)(=O)Cl", "S(=O)(=O)F",
            "SC(F)(F)F", "OS(=O)(=O)O", "S(F)(F)(F)(F)F", "S(C)(=N)=O", "SC(C)=O", "N=S(C)(C)=O",
            "S(=O)(=O)C(F)(F)F", "OS(=O)(=O)C(F)(F)F",
        ),
        0.25,
    ),
    # Bromine and iodine.
    "Br": 7.0,
    "I": 8.0,
    **dict.fromkeys(("CBr", "C(=O)CBr", "C=CBr", "c1ccc(Br)cc1", "CCBr"), 0.6),
    **dict.fromkeys(
        ("CI", "C=CI", "C#CI", "C#CBr", "c1ccc(I)cc1", "CCI", "C(F)(F)Br", "C(=O)Br"), 0.4
    ),
    # Boron.
    **dict.fromkeys(("B(O)O", "B1OC(C)(C)C(C)(C)O1"), 2.4),
    **dict.fromkeys(
        (
            "B(OC)OC", "B1OCCO1", "B1OCCCO1", "CB(O)O", "CB1OC(C)(C)C(C)(C)O1", "B(F)F", "B(C)C",
            "B1c2ccccc2CO1", "B1OC(=O)CN(C)CC(=O)O1", "OB(C)C", "NB(C)C", "B(N(C)C)N(C)C",
            "B1Oc2ccccc2O1", "[B-](F)(F)F", "B(O)C", "C=CB(O)O", "B1NCCN1",
        ),
        0.55,
    ),
    # Silicon.
    **dict.fromkeys(("[Si](C)(C)C", "O[Si](C)(C)C", "[Si](C)(C)C(C)(C)C"), 2.0),
    **dict.fromkeys(
        (
            "C[Si](C)(C)C", "O[Si](C)(C)C(C)(C)C", "C#C[Si](C)(C)C", "[Si](OC)(OC)OC", "[SiH](C)C",
            "[Si](C)(C)O", "[Si](C)(C)Cl", "[Si](C)(C)F", "O[Si](C)(C)O[Si](C)(C)C", "[SiH3]",
            "N[Si](C)(C)C", "[Si](C)(C)C=C", "[Si](C)(C)c1ccccc1", "CC[Si](OC)(OC)OC", "[SiH2]C",
            "[Si](C)(C)O[Si](C)(C)C", "CO[Si](C)(C)C", "[Si](C)(C)OC", "O[SiH](C)C", "[Si](O)(O)O",
            "[Si](F)(F)F", "S[Si](C)(C)C", "[Si](Cl)(Cl)Cl",
        ),
        0.4,
    ),
    # Phosphorus.
    **dict.fromkeys(("P(=O)(OC)OC", "OP(=O)(O)O", "P(=O)(O)O", "P(C)C", "P(C)(C)=O"), 0.8),
    **dict.fromkeys(
        (
            "OP(=O)(OC)OC", "OP(=S)(OC)OC", "P(=O)(OCC)OCC", "P(c1ccccc1)c1ccccc1", "P", "PC",
            "P(=O)(C)OC", "P(OC)OC", "OP(OC)OC", "P(=O)(N(C)C)N(C)C", "NP(=O)(OC)OC", "CP(=O)(O)O",
            "OP(C)(=O)O", "SP(=S)(OC)OC", "P(C)(C)=S", "P(Cl)Cl", "P(=O)(F)OC", "N=P(C)(C)C",
            "OP(=O)(N)N", "CP(C)C", "CP(=O)(OC)OC", "OP(=O)(O)OP(=O)(O)O", "P(N(C)C)N(C)C",
            "OP(=O)(OC)N(C)C", "P(=O)(O)C", "P(=O)(Cl)Cl", "P1OCCO1", "SP(=O)(OC)OC",
        ),
        0.2,
    ),
    # Charged at every pH, or at most of them.
    **dict.fromkeys(
        (
            "C(=O)[O-]", "S(=O)(=O)[O-]", "[N+](C)(C)C", "C[N+](C)(C)C", "[NH3+]", "C[NH+](C)C",
            "[nH+]1ccccc1", "[nH]1cc[n+](C)c1", "C[P+](C)(C)C", "[S+](C)C", "OP(=O)(O)[O-]",
            "C(N)=[NH2+]", "NC(N)=[NH2+]", "OS(=O)(=O)[O-]", "P(=O)(O)[O-]", "C[NH3+]",
        ),
        0.12,
    ),
}  # fmt: skip
# Small, without rings or charges: for what is made for its own ring or bond.
PLAIN = ("F", "Cl", "O", "N", "S", "C", "C#N", "C=O", "OC", "N=O", "C(F)(F)F", "C#C", "S(C)(=O)=O")

_SHARES = np.array(list(GROUPS.values())) / sum(GROUPS.values())
_PARSED = tuple(Chem.MolFromSmiles(smiles) for smiles in GROUPS)
_PARSED_PLAIN = tuple(Chem.MolFromSmiles(smiles) for smiles in PLAIN)


def random_group(rng: np.random.Generator) -> Chem.Mol:
    """A group; its first atom is the one to bond."""
    return _PARSED[rng.choice(len(_PARSED), p=_SHARES)]


def plain_group(rng: np.random.Generator) -> Chem.Mol:
    """A small group of H C N O F S Cl; its first atom is the one to bond."""
    return _PARSED_PLAIN[rng.integers(len(_PARSED_PLAIN))]
