"""Several labelled files to one, as data are published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rdkit import Chem, rdBase

from forcegate_client.dataset import Dataset, concatenate, load_dataset
from forcegate_client.dataset.schema import COARSE_FORCE_STEPS
from forcegate_trainer.data.molecules.splits import trained_when_common
from forcegate_trainer.data.molecules.unlikely import unlikely

__all__ = ["merge_files"]


def merge_files(
    paths: Sequence[Path], *, most: int | None, round_forces: bool, likely_only: bool
) -> Dataset:
    """All frames of ``paths``, or ``most`` of them drawn at random, and what made each file.

    ``likely_only`` drops and counts frames with ions that nobody would make; ``round_forces``
    rounds them to 1e-3 eV/Å, and charges to 1e-3 e.

    Raises:
        DatasetMismatchError: if labels are of several teachers, or a molecule is in two splits.
    """
    parts = [trained_when_common(load_dataset(path)) for path in paths]
    whole = concatenate(parts)
    if likely_only:
        whole = _without_unlikely(whole)
    if most is not None and most < len(whole):
        whole = _drawn(whole, most)
    if round_forces:
        whole = _rounded(whole)
    return replace(
        whole,
        job={
            "command": "merge",
            "inputs": [
                {"content": part.content_hash(), "seed": part.seed, "job": dict(part.job)}
                for part in parts
            ],
        },
    )


def _without_unlikely(dataset: Dataset) -> Dataset:
    with rdBase.BlockLogs():
        molecules = [Chem.MolFromSmiles(smiles) for smiles in dataset.molecules.smiles]
    # Frames of one's own may have names that are no SMILES.
    likely = [molecule is None or unlikely(molecule) is None for molecule in molecules]
    kept = np.array(likely)[dataset.molecule_id]
    dropped = Counter(dataset.dropped)
    dropped["unlikely_ion"] += int(np.count_nonzero(~kept))
    return replace(dataset.select(np.flatnonzero(kept)), dropped=dict(+dropped))


def _drawn(dataset: Dataset, most: int) -> Dataset:
    drawn = np.sort(np.random.default_rng(0).permutation(len(dataset))[:most])
    dropped = Counter(dataset.dropped)
    dropped["not_drawn"] += len(dataset) - most
    return replace(dataset.select(drawn), dropped=dict(dropped))


def _rounded(dataset: Dataset) -> Dataset:
    assert dataset.forces is not None  # files without labels are refused above
    charges = dataset.charges
    return replace(
        dataset,
        forces=np.rint(dataset.forces * COARSE_FORCE_STEPS) / COARSE_FORCE_STEPS,
        charges=None if charges is None else np.rint(charges * 1000) / 1000,
    )
