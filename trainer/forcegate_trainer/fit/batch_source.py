"""Where the batches of a run come from, and who makes them while a GPU computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from forcegate_trainer.fit.batch import FrameBatch, epoch_order, frame_batch, shares
from forcegate_trainer.fit.charged import charged_batch
from forcegate_trainer.fit.config import FitConfig
from forcegate_trainer.fit.data import TrainingData
from forcegate_trainer.fit.distillation.hints import Mentoring
from forcegate_trainer.fit.distillation.targets import open_targets
from forcegate_trainer.fit.graphs import FrameGraphs
from forcegate_trainer.network.student import Student
from forcegate_trainer.progress import Tell

__all__ = ["BatchSource", "BatchesAhead"]

Int = npt.NDArray[np.int64]


class BatchSource:
    """The batch of every step, or a worker's share of it: the same whenever it is asked for.

    ``model`` is the student, for its reference energies; ``folder`` the run's, in which its
    mentor's answers are.
    """

    def __init__(
        self, config: FitConfig, data: TrainingData, model: Student, folder: Path, tell: Tell
    ) -> None:
        self._config = config
        self._data = data.training
        self._graphs = FrameGraphs.build(data.training, config.architecture.cutoff, tell)
        self._n_edges = self._graphs.n_edges
        self._epoch, self._order = -1, np.arange(0)
        self._mentoring: Mentoring | None = None
        self.mentor_features: int | None = None
        self.steps_per_epoch = len(data.training) // config.batch_size
        if config.distillation is not None:
            targets = open_targets(config.distillation, folder)
            if targets.features is not None:
                self.mentor_features = targets.features.values.shape[1]
            elements = config.architecture.elements
            reference = np.zeros(max(elements) + 1)
            reference[list(elements)] = model.reference_energies.cpu().numpy()
            self._mentoring = Mentoring(
                self._data, self._graphs, targets, config.distillation, reference
            )

    def batch(self, step: int, rank: int) -> FrameBatch:
        """What worker ``rank`` computes in step number ``step``."""
        config = self._config
        frames = self._frames(step)
        n_edges = self._n_edges[frames]
        if self._mentoring is None:
            share = shares(frames, n_edges, config.workers)[rank]
            make = charged_batch if config.architecture.charges else frame_batch
            return make(self._data, self._graphs, share, frames)
        draw = self._mentoring.draw(frames, config.seed, step)
        share = shares(frames, n_edges * draw.cost, config.workers)[rank]
        return self._mentoring.batch(share, draw)

    def _frames(self, step: int) -> Int:
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            everything = np.arange(len(self._data))
            self._epoch, self._order = epoch, epoch_order(everything, self._config.seed, epoch)
        size = self._config.batch_size
        return self._order[position * size : (position + 1) * size]


class BatchesAhead:
    """The batches of ``make(step)``, on ``device``, the next one begun when one is taken.

    A thread puts them together and sends them off, so that a GPU never waits for the processor as
    long as a step takes longer than a batch. Copies to a GPU are from page-locked memory, and
    nobody waits for them.
    """

    def __init__(self, make: Callable[[int], FrameBatch], device: torch.device) -> None:
        self._make, self._device = make, device
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._begun: dict[int, Future[FrameBatch]] = {}

    def batch(self, step: int) -> FrameBatch:
        """The batch of that step; waits for it if it is not there yet."""
        begun = self._begun.pop(step, None) or self._pool.submit(self._sent, step)
        self._begun = {step + 1: self._pool.submit(self._sent, step + 1)}
        return begun.result()

    def close(self) -> None:
        """End the thread; what it had begun is thrown away."""
        self._pool.shutdown(cancel_futures=True)

    def _sent(self, step: int) -> FrameBatch:
        batch = self._make(step)
        if self._device.type == "cuda":
            batch = batch.pinned()
        return batch.to(self._device)
