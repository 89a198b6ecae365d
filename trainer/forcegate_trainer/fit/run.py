"""A training run: one process per worker, each with a share of every batch.

Ctrl-C is a wish that is heeded between two steps, when the state is whole.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch.distributed

from forcegate_trainer.fit.config import FitConfig
from forcegate_trainer.fit.data import TrainingData, load_training_data
from forcegate_trainer.fit.device import open_device
from forcegate_trainer.fit.distillation.targets import prepare_targets
from forcegate_trainer.fit.loop import Progress, follow, lead
from forcegate_trainer.network.storage import CONFIG_NAME
from forcegate_trainer.progress import Tell, tell_nobody

__all__ = ["Progress", "fit"]


def fit(
    config: FitConfig,
    folder: Path,
    progress: Progress,
    tell: Tell = tell_nobody,
    *,
    curves: bool = False,
    data: TrainingData | None = None,
) -> None:
    """Train into ``folder``, from its checkpoint if it has one.

    ``tell`` hears of the preparations, ``progress`` of the steps; ``curves`` are written for
    TensorBoard. ``data`` are the frames that ``config`` names, if they were read already. Ctrl-C
    ends the run after the present step, with a checkpoint.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
        SettingsError: if the datasets lack labels, or validation molecules; if the device is not
            there; if the mentor, or the weights to start from, cannot be used.
        TrainingDivergedError: if the loss is no longer finite.
    """
    # What cannot work is refused before anything is written.
    open_device(config.device, tf32=config.tf32)
    folder.mkdir(parents=True, exist_ok=True)
    config.save(folder / CONFIG_NAME)
    data = load_training_data(config) if data is None else data
    if config.distillation is not None:
        prepare_targets(config.distillation, data.training, folder, config.seed, tell)
    with _interruption() as asked, _followers(config, folder):
        lead(config, data, folder, progress, tell, asked, curves=curves)


@contextmanager
def _followers(config: FitConfig, folder: Path) -> Iterator[None]:
    """The other worker processes, which take the same steps as the block does."""
    if config.workers == 1:
        yield
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
        yield
        for process in followers:
            process.join()
    finally:
        for process in followers:
            process.terminate()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        meeting.unlink(missing_ok=True)


def _follow(rank: int, config: FitConfig, folder: Path, meeting: Path) -> None:
    _ignore_interruption()
    _join_group(rank, config.workers, meeting)
    follow(rank, config, load_training_data(config), folder)
    torch.distributed.destroy_process_group()


def _join_group(rank: int, workers: int, meeting: Path) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=workers
    )


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one acts as if nobody listened.

    Outside the main thread signals cannot be caught, and the event is never set.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _ignore_interruption() -> None:
    """For processes that are ended by their parent: a terminal sends Ctrl-C to all of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
