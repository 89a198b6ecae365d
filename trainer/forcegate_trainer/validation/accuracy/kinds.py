"""Of what kinds a molecule is, and how near to what was trained on.

A pooled figure hides the kind that is known least.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdFingerprintGenerator

from forcegate_client.dataset import Dataset
from forcegate_trainer.data.molecules.charges import ChargeClass, charge_class

__all__ = ["DRUG_LIKE_HEAVY_ATOMS", "IONS", "Kind", "frames_by_kind", "nearest_similarity"]

Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]

# Some 300 g/mol, where what drug hunters call a fragment ends.
DRUG_LIKE_HEAVY_ATOMS = 20


class Kind(StrEnum):
    """What a chemist would call a molecule; one that is several things counts as each of them."""

    ORGANIC = "organic"
    HALOGEN = "halogen"
    PHOSPHORUS = "phosphorus"
    BORON_SILICON = "boron or silicon"
    CATION = "cation"
    ANION = "anion"
    ZWITTERION = "zwitterion"
    DRUG_LIKE = "drug-like"
    DIMER = "dimer"
    CLUSTER = "cluster"


IONS = (Kind.CATION, Kind.ANION, Kind.ZWITTERION)
_ELEMENTS = {
    Kind.HALOGEN: (9, 17, 35, 53),
    Kind.PHOSPHORUS: (15,),
    Kind.BORON_SILICON: (5, 14),
}


def frames_by_kind(dataset: Dataset) -> dict[Kind, Bool]:
    """Masks [F] of the kinds that the dataset has.

    Several molecules together are a dimer or a cluster and nothing else. A single one is organic
    if it is neutral, no zwitterion, and has neither halogens nor P, B or Si; drug-like from
    ``DRUG_LIKE_HEAVY_ATOMS`` on.
    """
    parts = _parts(dataset)
    single = parts == 1
    zwitterions = _zwitterions(dataset)[dataset.molecule_id]
    found = {
        Kind.CATION: single & (dataset.charge > 0),
        Kind.ANION: single & (dataset.charge < 0),
        Kind.ZWITTERION: single & zwitterions & (dataset.charge == 0),
        **{kind: single & _any(dataset, numbers) for kind, numbers in _ELEMENTS.items()},
    }
    named = np.logical_or.reduce(list(found.values()))
    heavy = np.add.reduceat((dataset.atomic_numbers > 1).astype(np.int64), dataset.offsets[:-1])
    found |= {
        Kind.ORGANIC: single & ~named,
        Kind.DRUG_LIKE: single & (heavy >= DRUG_LIKE_HEAVY_ATOMS),
        Kind.DIMER: parts == 2,
        Kind.CLUSTER: parts > 2,
    }
    return {kind: found[kind] for kind in Kind if found[kind].any()}


def _parts(dataset: Dataset) -> Int:
    """How many molecules each frame has; files of before parts were numbered have the dots."""
    numbered = np.maximum.reduceat(dataset.fragment, dataset.offsets[:-1]) + 1
    dots = np.array([smiles.count(".") for smiles in dataset.molecules.smiles], dtype=np.int64)
    return np.asarray(np.maximum(numbered, dots[dataset.molecule_id] + 1))


def _any(dataset: Dataset, numbers: tuple[int, ...]) -> Bool:
    present = np.isin(dataset.atomic_numbers, numbers)
    return np.asarray(np.logical_or.reduceat(present, dataset.offsets[:-1]))


def _zwitterions(dataset: Dataset) -> Bool:
    """Mask over molecules; what has no SMILES, as what was captured, is taken for none."""
    with rdBase.BlockLogs():
        mols = [Chem.MolFromSmiles(smiles) for smiles in dataset.molecules.smiles]
    return np.array(
        [mol is not None and charge_class(mol) == ChargeClass.ZWITTERION for mol in mols],
        dtype=np.bool_,
    )


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
