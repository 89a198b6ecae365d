"""The mentor's answers for one batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from forcegate_client.dataset import Dataset
from forcegate_client.structures import segments
from forcegate_trainer.fit.batch import FrameBatch, Hints, frame_batch
from forcegate_trainer.fit.config import Distillation
from forcegate_trainer.fit.distillation.questions import displaced
from forcegate_trainer.fit.distillation.targets import MentorTargets
from forcegate_trainer.fit.graphs import FrameGraphs

__all__ = ["HessianDraw", "Mentoring"]

# Tells this use of a run's seed from others.
_DRAW = 2

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]


class HessianDraw:
    """Which frames of a batch are asked for a Hessian row, and for which one.

    The same for every worker, and whenever it is asked for: ``chosen`` [B], ``row`` [B].
    """

    def __init__(self, frames: Int, settings: Distillation, seed: int, step: int) -> None:
        rng = np.random.default_rng((seed, step, _DRAW))
        self.frames = frames
        self.chosen = np.zeros(len(frames), dtype=np.bool_)
        if settings.hessian_weight:
            count = max(1, round(settings.hessian_share * len(frames)))
            self.chosen[rng.choice(len(frames), count, replace=False)] = True
        self.row = rng.integers(0, settings.hessian_rows, len(frames))

    @property
    def cost(self) -> Int:
        """[B]; how many structures are evaluated for each frame."""
        return 1 + 2 * self.chosen.astype(np.int64)


class Mentoring:
    """Batches of frames with what the mentor says about them.

    ``reference`` are the student's energies of the atomic numbers [Z], in eV: a mentor has its
    own, and what is compared are atomic energies on one scale.
    """

    def __init__(
        self,
        data: Dataset,
        graphs: FrameGraphs,
        targets: MentorTargets,
        settings: Distillation,
        reference: Float,
    ) -> None:
        self._data = data
        self._graphs = graphs
        self._targets = targets
        self._settings = settings
        self._reference = reference

    def draw(self, frames: Int, seed: int, step: int) -> HessianDraw:
        """What is asked for of ``frames`` [B], all of a batch, in this step."""
        return HessianDraw(frames, self._settings, seed, step)

    def batch(self, share: Int, draw: HessianDraw) -> FrameBatch:
        """Graphs, labels and hints of ``share``, some of the frames that ``draw`` is about."""
        data, targets = self._data, self._targets
        plain = frame_batch(data, self._graphs, share, draw.frames)
        atoms = segments(data.offsets[share], data.n_atoms[share])
        energies = features = rows = None
        if targets.atomic_energies is not None:
            own = self._reference[data.atomic_numbers[atoms]]
            energies = torch.from_numpy(targets.atomic_energies[atoms] - own)
        if targets.features is not None:
            known = targets.features
            standard = (known.values[atoms] - known.mean) / known.spread
            features = torch.from_numpy(standard.astype(np.float32))
        inputs, whole = plain.inputs, plain.whole
        if targets.rows is not None:
            here = np.flatnonzero(draw.chosen & np.isin(draw.frames, share))
            asked, row = draw.frames[here], draw.row[here]
            graph = self._graphs.select(np.concatenate([share, asked, asked]))
            moved = displaced(graph, targets.rows.moved[row, asked])
            inputs = tuple(map(torch.from_numpy, moved.arrays()))
            counts = data.n_atoms[asked]
            where = segments(data.offsets[asked], counts)
            rows = torch.from_numpy(targets.rows.values[np.repeat(row, counts), where])
            atoms_asked = float(data.n_atoms[draw.frames[draw.chosen]].sum())
            whole = torch.cat([whole, torch.tensor([atoms_asked], dtype=whole.dtype)])
        return replace(plain, inputs=inputs, whole=whole, hints=Hints(energies, features, rows))
