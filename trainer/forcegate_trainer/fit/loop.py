"""The training loop of one worker."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import torch
import torch.distributed
from torch import Tensor

from forcegate_trainer.errors import TrainingDivergedError
from forcegate_trainer.fit.batch_source import BatchesAhead, BatchSource
from forcegate_trainer.fit.config import FitConfig
from forcegate_trainer.fit.data import TrainingData
from forcegate_trainer.fit.device import keep_memory, open_device
from forcegate_trainer.fit.evaluation import evaluate
from forcegate_trainer.fit.journal import Journal
from forcegate_trainer.fit.optimizers import energy_weight, learning_rate
from forcegate_trainer.fit.reference import check_elements, fit_reference_energies, move_zero
from forcegate_trainer.fit.start import load_start
from forcegate_trainer.fit.state import RunState
from forcegate_trainer.fit.step import TrainingStep
from forcegate_trainer.network.storage import WEIGHTS_NAME, save_checkpoint
from forcegate_trainer.network.student import Student, student
from forcegate_trainer.progress import Tell, tell_nobody

__all__ = ["Progress", "follow", "lead", "new_student"]

# Called with the step, the number of steps in all, and what is known about the fit so far.
Progress = Callable[[int, int, dict[str, float]], None]

# Steps of a GPU between two looks at their losses.
_LOOK_EVERY = 20
# Gradients in a row that are not finite and end the run.
_BEARABLE = 10


def lead(
    config: FitConfig,
    data: TrainingData,
    folder: Path,
    progress: Progress,
    tell: Tell,
    asked: Event,
    *,
    curves: bool,
) -> None:
    """Take all steps that are left, and write down what comes of them.

    Of several workers this is the first. ``asked`` ends the run after the present step, with a
    checkpoint and a ``KeyboardInterrupt``; ``curves`` are for TensorBoard.
    """
    run = _Run(config, data, folder, tell)
    state, total = run.state, run.total
    journal = Journal(folder, state.step, curves=curves)
    began, begun_at = time.monotonic(), state.step
    ahead = BatchesAhead(lambda step: run.source.batch(step, 0), run.device)
    batch_of = ahead.batch if run.device.type == "cuda" else lambda step: run.source.batch(step, 0)
    try:
        while state.step < total and not run.lost_patience():
            rate, weight = run.schedule()
            told = run.take_step(batch_of(state.step), rate, state.step, weight)
            state.step += 1
            run.remember(told, {"learning_rate": rate, "energy_weight": weight})
            validated, stop = run.validation_is_due(), asked.is_set()
            checkpoint = validated or stop or state.step % config.checkpoint_steps == 0
            if checkpoint or state.step % run.look_every == 0:
                run.look(journal)
            if validated:
                frames = (state.step - begun_at) * config.batch_size
                speed = frames / (time.monotonic() - began)
                run.validate(folder)
                journal.validation(state.step, {"frames_per_s": speed, **state.known})
            if checkpoint:
                state.save(folder)
            if validated:
                run.tell_followers()
            progress(state.step, total, state.known)
            if stop:
                raise KeyboardInterrupt
    finally:
        ahead.close()
        journal.close()


def follow(rank: int, config: FitConfig, data: TrainingData, folder: Path) -> None:
    """Take the same steps as the worker that leads, with another share of every batch."""
    run = _Run(config, data, folder, tell_nobody)
    state = run.state
    while state.step < run.total and not run.lost_patience():
        rate, weight = run.schedule()
        told = run.take_step(run.source.batch(state.step, rank), rate, state.step, weight)
        state.step += 1
        run.require_finite(run.take_step.read(told).norm)
        if run.validation_is_due():
            run.hear_leader()


def new_student(config: FitConfig, data: TrainingData, tell: Tell = tell_nobody) -> Student:
    """The student before its first step: random, or with the weights of ``config.start``."""
    torch.manual_seed(config.seed)
    model = student(config.architecture)
    elements = config.architecture.elements
    check_elements(data.training, elements)
    taught = np.arange(data.n_taught)
    if config.start is not None:
        load_start(model, config.start)
        move_zero(model, data.training, taught, config.architecture, tell)
        return model
    reference = fit_reference_energies(data.training, taught, elements)
    model.reference_energies.copy_(torch.from_numpy(reference))
    return model


class _Run:
    """What leading and following have in common."""

    def __init__(self, config: FitConfig, data: TrainingData, folder: Path, tell: Tell) -> None:
        torch.set_num_threads(1)
        self.device = device = open_device(config.device, tf32=config.tf32)
        # To look at what a step told is to wait for it: a GPU gets the next ones first.
        self.look_every = 1 if device.type == "cpu" else _LOOK_EVERY
        self._unseen: list[tuple[int, Tensor, dict[str, float]]] = []
        if device.type == "cpu":
            keep_memory()
        model = new_student(config, data, tell)
        self.source = BatchSource(config, data, model, folder, tell)
        self.take_step = TrainingStep(model.to(device), config, self.source.mentor_features)
        self.total = config.total_steps(len(data.training))
        self.state = RunState(self.take_step, energy_weight(self.total, self.total, config))
        self.state.restore(folder)
        self._config = config
        self._validation = data.validation
        self._not_finite = 0
        self._every = config.validate_steps or self.source.steps_per_epoch

    def schedule(self) -> tuple[float, float]:
        """Learning rate and weight of the energy of the next step."""
        step, config = self.state.step, self._config
        return learning_rate(step, self.total, config), energy_weight(step, self.total, config)

    def remember(self, told: Tensor, rates: dict[str, float]) -> None:
        """Keep what the last step told until somebody looks."""
        self._unseen.append((self.state.step, told, rates))

    def look(self, journal: Journal) -> None:
        """Read what steps told since the last look, and end a run whose gradients are lost."""
        for step, told, rates in self._unseen:
            taken = self.take_step.read(told)
            self.require_finite(taken.norm)
            self.state.heard(taken.loss)
            journal.step(
                step, {"loss": taken.loss, **rates, "gradient": taken.norm, **taken.errors}
            )
        self._unseen.clear()

    def validation_is_due(self) -> bool:
        step = self.state.step
        return step % self._every == 0 or step == self.total

    def validate(self, folder: Path) -> None:
        """Judge the averaged weights; keep them if they are the best so far."""
        model, frames = self.take_step.average.model, np.arange(len(self._validation))
        metrics = evaluate(model, self._validation, frames, self._config.architecture.cutoff)
        if self.state.validated(metrics):
            save_checkpoint(model.state_dict(), folder / WEIGHTS_NAME)

    def require_finite(self, norm: float) -> None:
        """Bear a few gradients that are not finite: the step has left them out.

        Early in a run, when steps are large, a single strange frame can overflow single precision.
        """
        self._not_finite = 0 if math.isfinite(norm) else self._not_finite + 1
        if self._not_finite == _BEARABLE:
            raise TrainingDivergedError(
                f"the gradient is {norm} at step {self.state.step}, for the {_BEARABLE}th time in "
                "a row; lower --learning-rate and resume from the last checkpoint"
            )

    def lost_patience(self) -> bool:
        return 0 < self._config.patience <= self.state.since_best

    def tell_followers(self) -> None:
        """How many validations ago the best one was, which only the leader knows."""
        if self._config.workers > 1 and self._config.patience:
            torch.distributed.broadcast(torch.tensor([self.state.since_best]), 0)

    def hear_leader(self) -> None:
        """Receive what ``tell_followers`` sends."""
        if self._config.patience:
            since_best = torch.zeros(1, dtype=torch.int64)
            torch.distributed.broadcast(since_best, 0)
            self.state.since_best = int(since_best)
