"""Charged atoms and fragments that random edits make and hardly any flask holds.

A student of half a million numbers has none to spare for them, and each takes many: without a
solvent or a partner such an ion is bound like nothing else, and its errors are the largest of all.
"""

from functools import cache

from rdkit import Chem

__all__ = ["unlikely"]

# As SMARTS, by what each is called.
_UNLIKELY = {
    # Aromatic ones, such as tropylium, are another matter.
    "a carbocation": "[C+]",
    # Hydronium and pyrylium stay.
    "an oxonium ion": "[O+;!H3]",
    "a carbanion that nothing stabilises": "[C-;X2,X3;!$([C-][#6]=[O,N,S]);!$([C-]C#N);"
    "!$([C-][S,P]=O);!$([C-][N+,P+,S+]);!$([C-]=,#*)]",
    "the anion of a phosphine": "[P-;!X6]",
    "a nitrogen between double bonds to oxygen and sulfur": "[N+X2](=[O,S])=[O,S,N]",
    "a halogen on a positive nitrogen, phosphorus or sulfur": "[N+,n+,P+,S+][F,Cl,Br,I]",
    # A triplet in its ground state.
    "sulfur monoxide": "[SX1]=[OX1]",
}


def unlikely(mol: Chem.Mol) -> str | None:
    """What about a molecule, or a part of a pair, is unlikely; None if nothing is."""
    return next((name for name, query in _queries() if mol.HasSubstructMatch(query)), None)


@cache
def _queries() -> tuple[tuple[str, Chem.Mol], ...]:
    return tuple((name, Chem.MolFromSmarts(smarts)) for name, smarts in _UNLIKELY.items())
