"""How near a test molecule is to what the student was trained on."""

from __future__ import annotations

from collections.abc import Sequence

from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

__all__ = ["nearest_similarity"]


def nearest_similarity(smiles: Sequence[str], training: Sequence[str]) -> list[float]:
    """Largest Tanimoto similarity of each molecule to any training molecule, in [0, 1].

    Morgan fingerprints of radius 2 with 2,048 bits.
    """
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    known = [generator.GetFingerprint(Chem.MolFromSmiles(text)) for text in training]
    return [
        max(DataStructs.BulkTanimotoSimilarity(generator.GetFingerprint(molecule), known))
        for molecule in map(Chem.MolFromSmiles, smiles)
    ]
