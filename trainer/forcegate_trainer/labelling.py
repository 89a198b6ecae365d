"""Labels: a teacher's energies and forces for every frame of a dataset."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculatorError
from numpy.typing import NDArray
from rich.console import Console

from forcegate_client.dataset import Dataset, Flag, Source, load_dataset
from forcegate_client.dataset.frames import with_labels
from forcegate_service.monitoring.capture_store import UNIDENTIFIED
from forcegate_trainer.distillation.labels import answers, potential
from forcegate_trainer.errors import LabelError, SettingsError
from forcegate_trainer.resumable import run_in_pieces
from forcegate_trainer.sampling.structures import bonded_pairs, hydrogenated
from forcegate_trainer.teachers import parse_teacher
from forcegate_trainer.teachers.checks import (
    STRETCHED_BOND_FACTOR,
    THERMAL_BOND_FACTOR,
    drop_reason,
    proton_moved,
)
from forcegate_trainer.teachers.spec import Teacher

FRAMES_OF_A_PIECE = 96


@dataclass(frozen=True)
class LabelTask:
    """Frames for one worker, whole molecules at a time."""

    frames: Dataset
    teacher: str
    accuracy: float


def label_file(
    source: str | Path,
    out: str | Path,
    teacher_spec: str,
    *,
    accuracy: float,
    workers: int,
    console: Console | None = None,
) -> Dataset:
    """Label every frame of ``source`` and write those worth keeping to ``out``.

    Stopped and called again, it continues. The labels of a frame do not depend on the number of
    workers, nor on interruptions: a fresh calculator is used for each molecule, in a fixed order.

    Raises:
        TeacherError: if the teacher is not available.
        DatasetMismatchError: if ``out`` was begun with another teacher, other settings or another
            input.
        SettingsError: if ``source`` is labelled already.
    """
    frames = load_dataset(source)
    return label_dataset(
        frames, str(source), out, teacher_spec, accuracy=accuracy, workers=workers, console=console
    )


def label_dataset(
    frames: Dataset,
    source: str,
    out: str | Path,
    teacher_spec: str,
    *,
    accuracy: float,
    workers: int,
    console: Console | None = None,
) -> Dataset:
    """What :func:`label_file` does, of frames in memory; ``source`` names them in errors."""
    teacher = parse_teacher(teacher_spec, accuracy)
    if frames.is_labelled:
        raise SettingsError(
            f"received {source}, which has labels of {frames.teacher}; expected frames without "
            "labels, as `forcegate-train sample` writes them"
        )
    if not len(frames):
        raise SettingsError(f"received {source}, which holds no frames; sample some first")
    if any(smiles.startswith(UNIDENTIFIED) for smiles in frames.molecules.smiles):
        raise SettingsError(
            f"received {source}, whose molecules nobody has identified; expected sampled frames: "
            "give the folder that a gateway captured to as --from-capture"
        )
    job = {
        "command": "label",
        "input": frames.content_hash(),
        "teacher": teacher.record.to_json(),
        "frames_of_a_piece": FRAMES_OF_A_PIECE,
    }
    pieces = [
        LabelTask(frames.select(indices), teacher_spec, accuracy) for indices in _pieces(frames)
    ]
    return run_in_pieces(
        out,
        job,
        pieces,
        label_frames,
        workers=workers,
        title=f"labelling {len(frames)} frames",
        metadata={"seed": frames.seed, "code_version": version("forcegate")},
        dropped_before=frames.dropped,
        console=console,
    )


def label_frames(task: LabelTask) -> Dataset:
    """The labelled frames of a task; frames not worth keeping are counted by reason instead."""
    teacher = parse_teacher(task.teacher, task.accuracy)
    frames = task.frames
    kept: list[int] = []
    energies: list[float] = []
    forces: list[NDArray[np.float64]] = [np.empty((0, 3))]
    flags: list[int] = []
    dropped: Counter[str] = Counter()
    for frame, answer in _answers(frames, teacher):
        if isinstance(answer, LabelError):
            dropped[answer.reason] += 1
            continue
        kept.append(frame)
        energies.append(float(answer["energy"]))
        forces.append(answer["forces"])
        flags.append(_flags(frames, frame))
    labelled = with_labels(
        frames.select(np.array(kept, dtype=np.int64)),
        np.array(energies, dtype=np.float64),
        np.concatenate(forces),
        teacher.record,
        np.array(flags, dtype=np.int64),
    )
    return replace(labelled, dropped=dict(dropped))


def _answers(
    frames: Dataset, teacher: Teacher
) -> Iterator[tuple[int, Mapping[str, Any] | LabelError]]:
    """Energy (eV) and forces [n,3] (eV/Å) of each frame, or why it is to be dropped.

    A student is asked about many frames at once, any other teacher about one after the other.
    """
    if teacher.student is not None:
        for frame, answer in answers(frames, potential(teacher.student)):
            error = _objection(frames, frame, answer)
            yield frame, error or answer
        return
    for run in _same_molecule(frames):
        calculator = teacher.calculator()
        for frame in run:
            found = _calculate(frames, frame, calculator)
            if isinstance(found, LabelError):
                # After a failure the electronic state is no start for the next frame.
                calculator = teacher.calculator()
            yield frame, found


def _calculate(
    frames: Dataset, frame: int, calculator: BaseCalculator
) -> Mapping[str, Any] | LabelError:
    where = frames.atoms_of(frame)
    numbers, positions = frames.atomic_numbers[where], frames.positions[where]
    atoms = Atoms(
        numbers, positions, cell=frames.cells[frame], pbc=frames.pbc[frame], calculator=calculator
    )
    try:
        forces = atoms.get_forces()
        energy = float(atoms.get_potential_energy())
    except CalculatorError as error:
        reason = "scf_not_converged" if "not converged" in str(error) else "teacher_failed"
        return LabelError(f"the teacher failed: {error}", reason)
    answer = {**calculator.results, "energy": energy, "forces": forces}
    return _objection(frames, frame, answer) or answer


def _objection(frames: Dataset, frame: int, answer: Mapping[str, Any]) -> LabelError | None:
    """Why a frame with this answer is not worth learning; None if it is."""
    where = frames.atoms_of(frame)
    row = int(frames.molecule_id[frame])
    worthless = drop_reason(
        frames.atomic_numbers[where],
        frames.positions[where],
        answer,
        frames.molecules.smiles[row].count(".") + 1,
        STRETCHED_BOND_FACTOR if frames.source[frame] == Source.STRETCH else THERMAL_BOND_FACTOR,
    )
    if worthless is None:
        return None
    return LabelError(f"the frame is not worth learning: {worthless}", worthless)


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


def _pieces(frames: Dataset) -> Iterator[NDArray[np.int64]]:
    """Frame indices of each piece: whole molecules, so that labels do not depend on the cut."""
    piece: list[int] = []
    for run in _same_molecule(frames):
        piece += run
        if len(piece) >= FRAMES_OF_A_PIECE:
            yield np.array(piece, dtype=np.int64)
            piece = []
    if piece:
        yield np.array(piece, dtype=np.int64)
