"""The training loop: one process per worker, each with a share of every batch."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed

from forcegate_client.dataset import Dataset
from forcegate_trainer.errors import SettingsError, TrainingDivergedError
from forcegate_trainer.painn.potential import Potential
from forcegate_trainer.reporting import Tell, tell_nobody
from forcegate_trainer.training.checkpoint import load_checkpoint, save_checkpoint
from forcegate_trainer.training.config import FitConfig
from forcegate_trainer.training.evaluation import evaluate
from forcegate_trainer.training.files import (
    CHECKPOINT_NAME,
    CONFIG_NAME,
    METRICS_NAME,
    WEIGHTS_NAME,
    load_all,
)
from forcegate_trainer.training.frames import epoch_order, frame_batch, shares
from forcegate_trainer.training.graphs import FrameGraphs
from forcegate_trainer.training.interruption import ignore_interruption, interruption
from forcegate_trainer.training.memory import keep_memory
from forcegate_trainer.training.reference import fit_reference_energies
from forcegate_trainer.training.schedule import learning_rate
from forcegate_trainer.training.step import TrainingStep

__all__ = ["Progress", "fit"]

# Called with the step, the number of steps in all, and what is known about the fit so far.
Progress = Callable[[int, int, dict[str, float]], None]

# Steps over which the reported loss is averaged.
_RECENT = 200


def fit(config: FitConfig, folder: Path, progress: Progress, tell: Tell = tell_nobody) -> None:
    """Train into ``folder``, from its checkpoint if it has one.

    ``tell`` hears of the preparations, ``progress`` of the steps. Ctrl-C ends the run after the
    present step, with a checkpoint.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
        SettingsError: if the datasets lack labels, or validation molecules.
        TrainingDivergedError: if the loss is no longer finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config.save(folder / CONFIG_NAME)
    with interruption() as asked:
        _fit(config, folder, progress, tell, asked)


def _fit(config: FitConfig, folder: Path, progress: Progress, tell: Tell, asked: Event) -> None:
    if config.workers == 1:
        _train(0, config, folder, progress, tell, asked)
        return
    # The workers meet in a file, so that no port is opened.
    meeting = folder / ".meeting"
    meeting.unlink(missing_ok=True)
    context = multiprocessing.get_context("spawn")
    followers = [
        context.Process(target=_follow, args=(rank, config, folder, meeting), daemon=True)
        for rank in range(1, config.workers)
    ]
    for process in followers:
        process.start()
    try:
        _join_group(0, config.workers, meeting)
        _train(0, config, folder, progress, tell, asked)
        for process in followers:
            process.join()
    finally:
        for process in followers:
            process.terminate()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        meeting.unlink(missing_ok=True)


def _follow(rank: int, config: FitConfig, folder: Path, meeting: Path) -> None:
    ignore_interruption()
    _join_group(rank, config.workers, meeting)
    _train(rank, config, folder, lambda step, total, known: None, tell_nobody, Event())
    torch.distributed.destroy_process_group()


def _join_group(rank: int, workers: int, meeting: Path) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=workers
    )


def _train(
    rank: int, config: FitConfig, folder: Path, progress: Progress, tell: Tell, asked: Event
) -> None:
    torch.set_num_threads(1)
    keep_memory()
    dataset = load_all(config.datasets)
    train, validation = dataset.frame_indices("train"), dataset.frame_indices("validation")
    steps_per_epoch = len(train) // config.batch_size
    if not steps_per_epoch or not len(validation):
        raise SettingsError(
            f"received {len(train)} training and {len(validation)} validation frames; expected at "
            f"least one batch of {config.batch_size} and some validation molecules"
        )
    torch.manual_seed(config.seed)
    model = Potential(config.architecture)
    elements = config.architecture.elements
    reference = fit_reference_energies(dataset, train, elements)
    model.reference_energies.copy_(torch.from_numpy(reference))
    take_step = TrainingStep(model, config)
    state = _State(take_step)
    state.restore(folder)
    total = config.epochs * steps_per_epoch
    graphs = FrameGraphs.build(dataset, config.architecture.cutoff, tell)
    n_edges = graphs.n_edges
    recent: deque[float] = deque(maxlen=_RECENT)
    began, begun_at = time.monotonic(), state.step
    while state.step < total:
        epoch, position = divmod(state.step, steps_per_epoch)
        if not position or state.step == begun_at:
            order = epoch_order(train, config.seed, epoch)
        frames = order[position * config.batch_size : (position + 1) * config.batch_size]
        share = shares(frames, n_edges[frames], config.workers)[rank]
        batch = frame_batch(dataset, graphs, share, frames)
        value, norm = take_step(batch, learning_rate(state.step, total, config), state.step)
        if not math.isfinite(norm):
            raise TrainingDivergedError(
                f"the gradient is {norm} at step {state.step}; lower --learning-rate and "
                "resume from the last checkpoint"
            )
        state.step += 1
        if rank:
            continue
        recent.append(value)
        state.known["loss"] = float(np.mean(recent))
        if state.step % steps_per_epoch == 0:
            rate = (state.step - begun_at) * config.batch_size / (time.monotonic() - began)
            _finish_epoch(state, dataset, validation, config, folder, rate)
        due = state.step % config.checkpoint_steps == 0 or state.step % steps_per_epoch == 0
        if due or asked.is_set():
            state.save(folder)
        progress(state.step, total, state.known)
        if asked.is_set():
            raise KeyboardInterrupt


def _finish_epoch(
    state: _State,
    dataset: Dataset,
    validation: npt.NDArray[np.int64],
    config: FitConfig,
    folder: Path,
    frames_per_s: float,
) -> None:
    metrics = evaluate(state.average.model, dataset, validation, config.architecture.cutoff)
    if metrics["force_rmse"] < state.best:
        state.best = metrics["force_rmse"]
        save_checkpoint(state.average.model.state_dict(), folder / WEIGHTS_NAME)
    state.known.update(metrics)
    row = {"step": state.step, "frames_per_s": frames_per_s, **state.known}
    with (folder / METRICS_NAME).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


class _State:
    """All that a run needs to go on as if it had never stopped."""

    def __init__(self, parts: TrainingStep) -> None:
        self.model = parts.model
        self.optimizer = parts.optimizer
        self.average = parts.average
        self.step = 0
        self.best = float("inf")
        self.known: dict[str, float] = {}

    def save(self, folder: Path) -> None:
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": self.best,
            "known": dict(self.known),
        }
        save_checkpoint(state, folder / CHECKPOINT_NAME)

    def restore(self, folder: Path) -> None:
        path = folder / CHECKPOINT_NAME
        if not path.is_file():
            return
        state = load_checkpoint(path)
        self.model.load_state_dict(state["model"])
        self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best, self.known = state["step"], state["best"], state["known"]
