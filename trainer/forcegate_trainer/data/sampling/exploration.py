"""On-policy frames: where a student's own molecular dynamics goes.

A student is used on the geometries that it produces itself. Dynamics of the student is cheap, so
it finds them, from frames that there are already; the teacher then labels what was found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from forcegate_client.dataset import Dataset, Frame, Source, from_frames, load_dataset
from forcegate_trainer.data.datasets import structures_of
from forcegate_trainer.data.resumable import run_in_pieces
from forcegate_trainer.data.sampling.drivers import open_driver
from forcegate_trainer.data.sampling.randomness import generator
from forcegate_trainer.data.sampling.settings import ExplorationSettings
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.simulation.integrators import langevin
from forcegate_trainer.simulation.motion import Motion, begin, thermal_velocities
from forcegate_trainer.simulation.potential import BatchPotential

__all__ = ["explore", "explore_file"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

FRAMES_OF_A_PIECE = 256
# Molecules that move side by side: as many as still fit into a processor's caches.
BATCH = 64


@dataclass(frozen=True)
class ExplorationTask:
    """Starting frames for one worker, with their temperatures [F] in K."""

    starts: Dataset
    temperatures: Float
    settings: ExplorationSettings
    number: int


def explore_file(
    source: str | Path,
    out: str | Path,
    settings: ExplorationSettings,
    *,
    workers: int,
    console: Console | None = None,
) -> Dataset:
    """Run the student from frames of ``source`` and write what it finds, unlabelled, to ``out``.

    Stopped and called again, it continues.

    Raises:
        SettingsError: if ``source`` holds frames of molecules that are not for training.
        DatasetMismatchError: if ``out`` was begun with other frames, settings or driver.
        ModelRefused: if the student's files do not match its card.
    """
    frames = load_dataset(source)
    driver = open_driver(settings.driver)
    if driver.source == Source.ON_POLICY:
        _require_training(frames, source)
    chosen, temperatures = _starts(frames, settings)
    starts = frames.select(chosen)
    job = {
        "command": "explore",
        "input": frames.content_hash(),
        "digest": driver.digest,
        # Both decide which random numbers a trajectory gets.
        "frames_of_a_piece": FRAMES_OF_A_PIECE,
        "batch": BATCH,
        **asdict(settings),
        # Not where it lies: the same student may be found elsewhere next time.
        "driver": driver.name,
    }
    pieces = [
        ExplorationTask(starts.select(part), temperatures[part], settings, number)
        for number, part in enumerate(_parts(len(starts)))
    ]
    return run_in_pieces(
        out,
        job,
        pieces,
        explore,
        workers=workers,
        title=f"dynamics from {len(starts)} frames",
        seed=settings.seed,
        console=console,
    )


def explore(task: ExplorationTask) -> Dataset:
    """The frames that the student finds from the starts of a task, quantised."""
    settings, starts = task.settings, task.starts
    driver = open_driver(settings.driver)
    potential = _potential(settings.driver)
    frames: list[Frame] = []
    lost = 0
    for number, part in enumerate(_parts(len(starts), BATCH)):
        rng = generator(settings.seed, "explore", str(task.number), str(number))
        found, blown_up = _run(
            starts, part, task.temperatures[part], potential, settings, driver.source, rng
        )
        frames += found
        lost += blown_up
    dropped: Counter[str] = Counter()
    if lost:
        dropped["student_blew_up"] = lost
    return from_frames(frames, starts.molecules, dropped=dict(dropped))


@dataclass
class _Candidates:
    """The most novel frames of one trajectory so far: novelty and positions [n, 3] in Å."""

    limit: int
    kept: list[tuple[float, Float]] = field(default_factory=list)

    def offer(self, novelty: float, positions: Float) -> None:
        self.kept.append((novelty, positions.copy()))
        if len(self.kept) > self.limit:
            self.kept.remove(min(self.kept, key=lambda candidate: candidate[0]))


def _run(
    starts: Dataset,
    rows: Int,
    temperatures: Float,
    potential: BatchPotential,
    settings: ExplorationSettings,
    source: Source,
    rng: np.random.Generator,
) -> tuple[list[Frame], int]:
    """What the molecules of ``rows`` find, and how many of them blew up on the way."""
    batch = structures_of(starts.select(rows))
    trajectories = [_Candidates(settings.keep) for _ in rows]

    def record(step: int, motion: Motion) -> None:
        if step % settings.every == 0:
            bounds = motion.batch.offsets
            for row, member in enumerate(motion.members.tolist()):
                positions = motion.batch.positions[bounds[row] : bounds[row + 1]]
                # What tells no novelty keeps its last candidates.
                trajectories[member].offer(float(np.nan_to_num(motion.novelty[row])), positions)

    velocities = thermal_velocities(batch, temperatures, rng)
    motion = begin(batch, potential, velocities)
    motion = motion.keep(motion.sane())
    if len(motion):
        motion = langevin(
            motion, potential, temperatures, steps=settings.steps, rng=rng, on_step=record
        )
    bounds = batch.offsets
    frames = [
        Frame(
            batch.atomic_numbers[bounds[member] : bounds[member + 1]],
            positions,
            int(starts.molecule_id[rows[member]]),
            source,
            float(temperatures[member]),
            starts.fragment[starts.atoms_of(int(rows[member]))],
        )
        for member, trajectory in enumerate(trajectories)
        for _, positions in trajectory.kept
    ]
    return frames, len(rows) - len(motion)


def _starts(frames: Dataset, settings: ExplorationSettings) -> tuple[Int, Float]:
    """Rows of the frames to start from, molecule by molecule, and their temperatures in K."""
    rng = generator(settings.seed, "starts")
    order = rng.permutation(len(frames))
    rank = np.empty(len(frames), dtype=np.int64)
    # The place of each frame among its molecule's own, in random order.
    by_molecule = order[np.argsort(frames.molecule_id[order], kind="stable")]
    molecules = frames.molecule_id[by_molecule]
    first = np.searchsorted(molecules, molecules, side="left")
    rank[by_molecule] = np.arange(len(frames)) - first
    chosen = np.flatnonzero(rank < settings.starts_per_molecule).astype(np.int64)
    if settings.temperatures:
        temperatures = np.resize(np.array(settings.temperatures), len(chosen))
    else:
        own = frames.temperature[chosen]
        temperatures = np.where(own > 0, own, 300.0)
    return chosen, temperatures


def _require_training(frames: Dataset, source: str | Path) -> None:
    if not len(frames):
        raise SettingsError(
            f"received {source}, which holds no frames; run `forcegate-train sample` first"
        )
    strangers = len(frames) - len(frames.frame_indices("train"))
    if strangers:
        raise SettingsError(
            f"received {source} with {strangers} of {len(frames)} frames of validation or test "
            "molecules; expected training molecules alone: what a student finds is trained on"
        )


def _parts(count: int, size: int = FRAMES_OF_A_PIECE) -> Iterator[Int]:
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count), dtype=np.int64)


def _potential(driver: str) -> BatchPotential:
    return open_driver(driver).potential()
