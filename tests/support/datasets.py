"""A small labelled dataset, made by the teacher when it is asked for; and files, labelled."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule

from forcegate_client.dataset import (
    Dataset,
    Frame,
    Labels,
    MoleculeTable,
    Source,
    Split,
    TeacherRecord,
    from_frames,
    load_dataset,
    with_labels,
)
from forcegate_trainer.data.labelling.label import label_dataset
from forcegate_trainer.teachers import make_teacher

# Together they hold every element of the students.
TRAIN = ("CH3CH2OH", "CH3Cl", "HCF3", "CH3SH", "CH3CONH2")
VALIDATION = ("CH3OH", "CH3NO2")
TEST = ("C2H6", "CH3OCH3")


def labelled_dataset(frames_per_molecule: int = 6, amplitude: float = 0.04) -> Dataset:
    """Rattled molecules (Å) with GFN2-xTB energies and forces; three disjoint splits."""
    names = [*TRAIN, *VALIDATION, *TEST]
    splits = (
        [Split.TRAIN] * len(TRAIN) + [Split.VALIDATION] * len(VALIDATION) + [Split.TEST] * len(TEST)
    )
    frames, energies, forces = [], [], []
    rng = np.random.default_rng(0)
    for row, name in enumerate(names):
        base = molecule(name)
        for _ in range(frames_per_molecule):
            positions = np.round(base.positions + rng.normal(0, amplitude, (len(base), 3)), 4)
            atoms = Atoms(base.numbers, positions, calculator=make_teacher("tblite:GFN2-xTB"))
            energies.append(atoms.get_potential_energy())
            forces.append(atoms.get_forces())
            numbers = base.numbers.astype(np.int64)
            frames.append(Frame(numbers, positions, row, Source.LANGEVIN, 300.0))
    table = MoleculeTable.closed_shell(names, names, names, splits)
    bare = from_frames(frames, table, seed=0)
    teacher = TeacherRecord("tblite:GFN2-xTB", "test", {"accuracy": 0.1})
    return with_labels(
        bare, Labels(np.array(energies), np.concatenate(forces)), teacher, bare.flags
    )


def label_file(source: Path, out: Path, teacher: str) -> Dataset:
    """What the frames of ``source`` are labelled as, in this process."""
    return label_dataset(load_dataset(source), str(source), out, teacher, accuracy=0.1, workers=0)
