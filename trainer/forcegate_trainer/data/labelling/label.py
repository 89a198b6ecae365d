"""Labels: a teacher's energies and forces for every frame of a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from forcegate_client.dataset import (
    Dataset,
    Flag,
    Labels,
    Source,
    with_labels,
    without_labels,
)
from forcegate_service.watch.capture.store import UNIDENTIFIED
from forcegate_trainer.data.datasets import structures_of
from forcegate_trainer.data.labelling.checks import (
    STRETCHED_BOND_FACTOR,
    THERMAL_BOND_FACTOR,
    drop_reason,
    proton_moved,
)
from forcegate_trainer.data.labelling.complexes import label_complexes, with_fragments
from forcegate_trainer.data.molecules.structures import bonded_pairs, hydrogenated
from forcegate_trainer.data.resumable import run_in_pieces
from forcegate_trainer.errors import LabelError, SettingsError
from forcegate_trainer.teachers import Answer, parse_teacher


@dataclass(frozen=True)
class LabelTask:
    """Frames for one worker, whole molecules at a time."""

    frames: Dataset
    teacher: str
    accuracy: float


def label_dataset(
    frames: Dataset,
    source: str,
    out: str | Path,
    teacher_spec: str,
    *,
    accuracy: float,
    workers: int,
    relabel: bool = False,
    console: Console | None = None,
) -> Dataset:
    """Label all ``frames`` and write those worth keeping to ``out``.

    ``source`` names them in errors; ``relabel`` throws away labels that there are. Stopped and
    called again, it continues. The labels of a frame do not depend on the number of workers, nor on
    interruptions: a fresh calculator is used for each molecule, in a fixed order.

    Raises:
        TeacherError: if the teacher is not available.
        DatasetMismatchError: if ``out`` was begun with another teacher, other settings or other
            frames.
        SettingsError: if ``frames`` are labelled already, or there are none.
    """
    teacher = parse_teacher(teacher_spec, accuracy)
    if relabel:
        frames = without_labels(frames)
    if frames.is_labelled:
        raise SettingsError(
            f"received {source}, which has labels of {frames.teacher}; expected frames without "
            "labels, as `forcegate-train sample` writes them; --relabel labels them anew"
        )
    if not len(frames):
        raise SettingsError(
            f"received {source}, which holds no frames; run `forcegate-train sample` first"
        )
    if any(smiles.startswith(UNIDENTIFIED) for smiles in frames.molecules.smiles):
        raise SettingsError(
            f"received {source}, whose molecules nobody has identified; expected sampled frames: "
            "give the folder that a gateway captured to as --from-capture"
        )
    job = {
        "command": "label",
        "input": frames.content_hash(),
        "teacher": teacher.record.to_json(),
        "frames_of_a_piece": teacher.frames_of_a_piece,
    }
    pieces = [
        LabelTask(frames.select(indices), teacher_spec, accuracy)
        for indices in _pieces(frames, teacher.frames_of_a_piece)
    ]
    return run_in_pieces(
        out,
        job,
        pieces,
        label_frames,
        workers=workers,
        title=f"labelling {len(frames)} frames",
        seed=frames.seed,
        dropped_before=frames.dropped,
        console=console,
    )


def label_frames(task: LabelTask) -> Dataset:
    """The labelled frames of a task; frames not worth keeping are counted by reason instead."""
    teacher = parse_teacher(task.teacher, task.accuracy)
    frames = with_fragments(task.frames)
    structures = structures_of(frames)
    replies = list(teacher.label(structures, frames.molecule_id))
    complexes = label_complexes(frames, structures, replies, teacher)
    kept: list[int] = []
    answers: list[Answer] = []
    dropped: Counter[str] = Counter()
    for frame, reply in enumerate(complexes.replies):
        reason = reply.reason if isinstance(reply, LabelError) else _objection(frames, frame, reply)
        if reason is not None:
            dropped[reason] += 1
            continue
        assert isinstance(reply, Answer)
        kept.append(frame)
        answers.append(reply)
    rows = np.array(kept, dtype=np.int64)
    chosen = frames.select(rows)
    flags = [_flags(chosen, frame) for frame in range(len(chosen))]
    labelled = with_labels(
        chosen,
        _labels(answers, chosen.n_atoms, complexes.separated_energies[rows]),
        teacher.record,
        np.array(flags, dtype=np.int64) | complexes.flags[rows],
    )
    return replace(labelled, dropped=dict(dropped))


def _labels(
    answers: list[Answer], n_atoms: NDArray[np.int64], separated: NDArray[np.float64]
) -> Labels:
    unknown = [np.full(n, np.nan) for n in n_atoms.tolist()]
    charges = [
        blank if answer.charges is None else answer.charges
        for answer, blank in zip(answers, unknown, strict=True)
    ]
    spreads = [np.nan if a.force_spread is None else a.force_spread for a in answers]
    return Labels(
        energies=np.array([answer.energy for answer in answers], dtype=np.float64),
        forces=np.concatenate([np.empty((0, 3)), *(answer.forces for answer in answers)]),
        charges=np.concatenate([np.empty(0), *charges]),
        force_spread=np.array(spreads, dtype=np.float64),
        separated_energies=separated,
    )


def _objection(frames: Dataset, frame: int, answer: Answer) -> str | None:
    """Why a frame with this answer is not worth learning; None if it is."""
    where = frames.atoms_of(frame)
    row = int(frames.molecule_id[frame])
    return drop_reason(
        frames.atomic_numbers[where],
        frames.positions[where],
        answer,
        frames.molecules.smiles[row].count(".") + 1,
        STRETCHED_BOND_FACTOR if frames.source[frame] == Source.STRETCH else THERMAL_BOND_FACTOR,
    )


def _flags(frames: Dataset, frame: int) -> int:
    where = frames.atoms_of(frame)
    numbers, positions = frames.atomic_numbers[where], frames.positions[where]
    reference = hydrogenated(frames.molecules.smiles[int(frames.molecule_id[frame])])
    expected = [atom.GetAtomicNum() for atom in reference.GetAtoms()]
    # Frames from elsewhere may number the atoms otherwise; then nothing can be said.
    if numbers.tolist() != expected:
        return 0
    moved = proton_moved(numbers, positions, bonded_pairs(reference))
    return int(Flag.PROTON_TRANSFER) if moved else 0


def _same_molecule(frames: Dataset) -> Iterator[list[int]]:
    """Consecutive frames of one molecule."""
    run: list[int] = []
    for frame in range(len(frames)):
        if run and frames.molecule_id[frame] != frames.molecule_id[run[-1]]:
            yield run
            run = []
        run.append(frame)
    if run:
        yield run


def _pieces(frames: Dataset, size: int) -> Iterator[NDArray[np.int64]]:
    """Frame indices of each piece: whole molecules, so that labels do not depend on the cut."""
    piece: list[int] = []
    for run in _same_molecule(frames):
        piece += run
        if len(piece) >= size:
            yield np.array(piece, dtype=np.int64)
            piece = []
    if piece:
        yield np.array(piece, dtype=np.int64)
