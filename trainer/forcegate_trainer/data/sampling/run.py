"""Sample a list of molecules into a file: several processes, resumable."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console

from forcegate_client.dataset import Dataset, Frame, MoleculeTable, Split, from_frames
from forcegate_trainer.data.molecules.identity import Molecule
from forcegate_trainer.data.resumable import run_in_pieces
from forcegate_trainer.data.sampling.dimers import Pair, choose_pairs
from forcegate_trainer.data.sampling.frames import FRAMES_PER_PAIR, sample_molecule, sample_pair
from forcegate_trainer.data.sampling.settings import MMFF, SamplingSettings
from forcegate_trainer.errors import MoleculeError

# A piece should take seconds: that is what an interruption costs.
MOLECULES_OF_A_PIECE = 16
MOLECULES_OF_A_SETTLED_PIECE = 4
MOLECULES_OF_A_TEACHER_PIECE = 1


@dataclass(frozen=True)
class SampleTask:
    """Molecules and pairs for one worker."""

    items: tuple[Molecule | Pair, ...]
    settings: SamplingSettings


def sample_file(
    molecules: Sequence[Molecule],
    out: str | Path,
    settings: SamplingSettings,
    *,
    workers: int,
    console: Console | None = None,
) -> Dataset:
    """Sample all molecules of the wanted splits, and pairs of them, and write ``out``.

    Stopped and called again, it continues; the frames of a molecule depend on its SMILES, the seed
    and the settings alone.

    Raises:
        MoleculeError: if none of the molecules is in the wanted splits.
        DatasetMismatchError: if ``out`` was begun with other molecules or settings.
    """
    chosen = _chosen(molecules, settings)
    if not chosen:
        raise MoleculeError(
            f"received {len(molecules)} molecules, none of them in {', '.join(settings.splits)}; "
            "give more molecules or other splits"
        )
    items: list[Molecule | Pair] = [*chosen, *_pairs(chosen, settings)]
    listed = "\n".join(item.smiles for item in items)
    job = {
        "command": "sample",
        "molecules": hashlib.sha256(listed.encode()).hexdigest(),
        **asdict(settings),
    }
    return run_in_pieces(
        out,
        job,
        [SampleTask(piece, settings) for piece in _pieces(items, settings)],
        sample_items,
        workers=workers,
        title=f"sampling {len(chosen)} molecules",
        seed=settings.seed,
        console=console,
    )


def sample_items(task: SampleTask) -> Dataset:
    """The frames of a task's molecules and pairs, quantised."""
    frames: list[Frame] = []
    dropped: Counter[str] = Counter()
    for row, item in enumerate(task.items):
        sample = sample_pair if isinstance(item, Pair) else sample_molecule
        sampled = sample(item, task.settings)  # type: ignore[arg-type]
        frames += [replace(frame, molecule_id=row) for frame in sampled.frames]
        dropped += sampled.dropped
    return from_frames(frames, _table(task.items, task.settings), dropped=dict(dropped))


def _chosen(molecules: Sequence[Molecule], settings: SamplingSettings) -> list[Molecule]:
    """The molecules of the wanted splits, in the order of the list; a few of each if so set."""
    chosen: set[int] = set()
    for name in settings.splits:
        split = Split[name.upper()]
        members = [i for i, m in enumerate(molecules) if m.split(settings.split_seed) == split]
        limit = settings.molecules_per_split
        if limit is not None and limit < len(members):
            rng = settings.generator("molecules_per_split", name)
            members = [members[i] for i in rng.permutation(len(members))[:limit]]
        chosen.update(members)
    return [molecules[index] for index in sorted(chosen)]


def _pairs(molecules: Sequence[Molecule], settings: SamplingSettings) -> list[Pair]:
    share = settings.dimer_share
    frames = settings.frames_per_molecule * len(molecules) * share / (1 - share)
    rng = settings.generator("pairs", *(m.smiles for m in molecules))
    return choose_pairs(molecules, round(frames / FRAMES_PER_PAIR), settings.split_seed, rng)


def _table(items: Sequence[Molecule | Pair], settings: SamplingSettings) -> MoleculeTable:
    members = [(i.first, i.second) if isinstance(i, Pair) else (i,) for i in items]
    return MoleculeTable.closed_shell(
        [item.smiles for item in items],
        [".".join(m.inchikey for m in group) for group in members],
        [".".join(m.split_key for m in group) for group in members],
        [group[0].split(settings.split_seed) for group in members],
        [sum(m.charge for m in group) for group in members],
    )


def _pieces(
    items: Sequence[Molecule | Pair], settings: SamplingSettings
) -> Iterator[tuple[Molecule | Pair, ...]]:
    if settings.driver != MMFF:
        size = MOLECULES_OF_A_TEACHER_PIECE
    else:
        size = MOLECULES_OF_A_PIECE if settings.settle is None else MOLECULES_OF_A_SETTLED_PIECE
    for begin in range(0, len(items), size):
        yield tuple(items[begin : begin + size])
