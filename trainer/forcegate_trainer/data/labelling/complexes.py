"""Labels of complexes: what their parts are worth alone, and what a teacher is not asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from rdkit import Chem
from scipy.spatial.distance import cdist

from forcegate_client.dataset import Dataset, Flag
from forcegate_client.structures import StructureBatch
from forcegate_trainer.data.molecules.structures import hydrogenated
from forcegate_trainer.errors import LabelError
from forcegate_trainer.teachers.interface import Answer, Reply, Teacher

__all__ = ["LabelledComplexes", "label_complexes", "part_charges", "with_fragments"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

# Closest distances (Å) between parts with a net charge among them. Up to the first the teacher
# that leaks charge is believed; from the second on its parts are labelled apart.
CONTACT, FAR = 4.0, 6.0
# Moved charge (e) that is told; what true contacts share stays below.
MAX_MOVED_CHARGE = 0.1


@dataclass(frozen=True)
class LabelledComplexes:
    """Replies of all F frames; ``separated_energies`` [F] in eV (NaN where there is one part)."""

    replies: list[Reply]
    separated_energies: Float
    flags: Int


def with_fragments(frames: Dataset) -> Dataset:
    """The frames with the parts of ``A.B`` numbered where nobody did.

    All atoms of A come before those of B, as everywhere where complexes are made.
    """
    fragment = frames.fragment.copy()
    for frame in range(len(frames)):
        where = frames.atoms_of(frame)
        smiles = frames.molecules.smiles[int(frames.molecule_id[frame])]
        if "." not in smiles or fragment[where].any():
            continue
        sizes = [hydrogenated(part).GetNumAtoms() for part in smiles.split(".")]
        if sum(sizes) == where.stop - where.start:
            fragment[where] = np.repeat(np.arange(len(sizes)), sizes)
    return replace(frames, fragment=fragment)


def label_complexes(
    frames: Dataset, structures: StructureBatch, replies: Sequence[Reply], teacher: Teacher
) -> LabelledComplexes:
    """What ``teacher`` said of the frames, with complexes seen to."""
    result = LabelledComplexes(
        list(replies), np.full(len(frames), np.nan), np.zeros(len(frames), dtype=np.int64)
    )
    complexes = [
        frame for frame in range(len(frames)) if frames.fragment[frames.atoms_of(frame)].any()
    ]
    if not complexes:
        return result
    charges = [
        part_charges(frames.molecules.smiles[int(frames.molecule_id[frame])]) for frame in complexes
    ]
    parts = _parts(frames, complexes, charges)
    # All parts at once: one after the other, small structures waste most of a teacher's time.
    alone = list(teacher.label(parts, np.arange(len(parts))))
    begin = 0
    for frame, held in zip(complexes, charges, strict=True):
        replies_of_parts = alone[begin : begin + len(held)]
        begin += len(held)
        energies = [reply.energy for reply in replies_of_parts if isinstance(reply, Answer)]
        if len(energies) == len(held):
            result.separated_energies[frame] = sum(energies)
        if held.any():
            fragment = frames.fragment[frames.atoms_of(frame)]
            _see_to_charges(result, frame, structures.select([frame]), fragment, held, teacher)
    return result


def _see_to_charges(
    result: LabelledComplexes,
    frame: int,
    structure: StructureBatch,
    fragment: Int,
    charges: Int,
    teacher: Teacher,
) -> None:
    """Replace the label of far parts, refuse what lies between, tell of charge that has moved."""
    gap = _closest(structure.positions, fragment, charges)
    apart = teacher.separated(structure, fragment, [charges]) if gap > CONTACT else None
    if apart is not None:
        if gap > FAR:
            (result.replies[frame],) = apart
            result.flags[frame] |= Flag.SEPARATED
        else:
            result.replies[frame] = LabelError(
                f"parts with net charges are {gap:.1f} Å apart, where the teacher leaks charge",
                "charged_parts_neither_near_nor_far",
            )
        return
    reply = result.replies[frame]
    if isinstance(reply, Answer) and reply.charges is not None:
        held = np.bincount(fragment, weights=reply.charges)
        if np.abs(held - charges).max() > MAX_MOVED_CHARGE:
            result.flags[frame] |= Flag.CHARGE_TRANSFER


def part_charges(smiles: str) -> Int:
    """The net charge (e) of each part of ``A.B``, in order."""
    charges = [Chem.GetFormalCharge(Chem.MolFromSmiles(part)) for part in smiles.split(".")]
    return np.array(charges, dtype=np.int64)


def _parts(frames: Dataset, complexes: Sequence[int], charges: Sequence[Int]) -> StructureBatch:
    """The parts of all ``complexes``, each a structure of its own, in order."""
    atoms, sizes = [], []
    for frame, held in zip(complexes, charges, strict=True):
        fragment = frames.fragment[frames.atoms_of(frame)]
        atoms.append(frames.offsets[frame] + np.argsort(fragment, kind="stable"))
        sizes.append(np.bincount(fragment, minlength=len(held)))
    chosen = np.concatenate(atoms)
    return StructureBatch.from_arrays(
        n_atoms=np.concatenate(sizes),
        atomic_numbers=frames.atomic_numbers[chosen],
        positions=frames.positions[chosen],
        charges=np.concatenate(charges),
    )


def _closest(positions: Float, fragment: Int, charges: Int) -> float:
    """The smallest distance (Å) between a part with a net charge and another part."""
    return min(
        float(cdist(positions[fragment == part], positions[fragment != part]).min())
        for part in np.flatnonzero(charges).tolist()
    )
