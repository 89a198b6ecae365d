"""Batches for a GPU, made while it computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from forcegate_trainer.fit.frames import FrameBatch

__all__ = ["BatchesAhead"]


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
