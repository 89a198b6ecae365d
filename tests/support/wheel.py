"""Datasets for a turn of the wheel, in which what frames look like does not matter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forcegate_client.dataset import (
    Dataset,
    Frame,
    Labels,
    MoleculeTable,
    Source,
    Split,
    TeacherRecord,
    from_frames,
    with_labels,
)

__all__ = ["molecules_of"]


def molecules_of(smiles: Sequence[str], keys: Sequence[str], splits: Sequence[Split]) -> Dataset:
    """Four labelled frames of one carbon atom for each molecule, of several sources."""
    table = MoleculeTable.closed_shell(list(smiles), list(keys), list(keys), list(splits))
    kinds = (
        (Source.ON_POLICY, 300.0),
        (Source.ON_POLICY, 500.0),
        (Source.ON_POLICY, 1000.0),
        (Source.LANGEVIN, 300.0),
    )
    frames = [
        Frame(np.array([6]), np.zeros((1, 3)), row, source, kelvin)
        for row in range(len(table))
        for source, kelvin in kinds
    ]
    teacher = TeacherRecord("a teacher", "1")
    zeros = np.zeros((len(frames), 3))
    unlabelled = from_frames(frames, table)
    return with_labels(unlabelled, Labels(zeros[:, 0], zeros), teacher, unlabelled.flags)
