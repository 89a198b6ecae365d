"""Long work in pieces: several processes, a progress bar, and nothing lost when it is stopped."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from forcegate_client.aside import run_aside
from forcegate_client.dataset import Dataset, load_dataset
from forcegate_client.dataset.parts import PartedDataset
from forcegate_trainer.errors import SettingsError, WorkerDiedError

Piece = TypeVar("Piece")

# How long a piece may take before it is asked whether to go on.
_LOOKS_UP_S = 0.2
# With two threads a small molecule's xTB is slower than with one, and two workers would fight.
SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def run_in_pieces(
    out: str | Path,
    job: Mapping[str, Any],
    pieces: Sequence[Piece],
    function: Callable[[Piece], Dataset],
    *,
    workers: int,
    title: str,
    seed: int | None,
    dropped_before: Mapping[str, int] | None = None,
    console: Console | None = None,
) -> Dataset:
    """Apply ``function`` to every piece and write the results, in order, as one dataset.

    Each result is on disk as soon as it is there; called again with the same ``job``, only the
    missing pieces are done. ``workers`` processes share the work (``spawn``: no state of this one
    is inherited, so ``function`` and pieces must be importable and picklable); 0 works in this
    process. ``seed`` goes to the finished dataset, ``dropped_before`` is added to its counts of
    dropped frames.

    Raises:
        DatasetMismatchError: if ``out`` or its folder of parts belongs to another ``job``.
        SettingsError: if the number of workers is negative.
        WorkerDiedError: if a worker was killed; finished pieces are kept.
    """
    if workers < 0:
        raise SettingsError(f"received {workers} workers; expected 0 (this process) or more")
    parts = PartedDataset(out, job, len(pieces))
    if parts.is_finished:
        return load_dataset(out)
    done = parts.done()
    missing = [number for number in range(len(pieces)) if number not in done]
    console = console or Console(stderr=True)
    try:
        with _progress_bar(title, len(pieces), len(done), console) as advance:
            stop = threading.Event()

            def work() -> None:
                for number, result in _results(pieces, missing, function, workers, stop):
                    parts.add(number, result)
                    advance()

            if workers:
                run_aside(work, stop)
            else:
                work()
    except KeyboardInterrupt:
        console.print(f"stopped; {parts.folder} keeps what is done: run the command again to go on")
        raise
    return parts.finish(dropped_before or {}, seed=seed, code_version=version("forcegate"))


def _results(
    pieces: Sequence[Piece],
    missing: Sequence[int],
    function: Callable[[Piece], Dataset],
    workers: int,
    stop: threading.Event,
) -> Iterator[tuple[int, Dataset]]:
    if workers == 0 or not missing:
        for number in missing:
            yield number, function(pieces[number])
        return
    context = multiprocessing.get_context("spawn")
    with _environment(SINGLE_THREADED):
        executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
        try:
            waiting: dict[Future[Dataset], int] = {}
            remaining = list(reversed(missing))
            while (remaining or waiting) and not stop.is_set():
                # Twice as many as workers: none is idle, and little is lost on Ctrl-C.
                while remaining and len(waiting) < 2 * workers:
                    number = remaining.pop()
                    waiting[executor.submit(function, pieces[number])] = number
                finished, _ = wait(waiting, _LOOKS_UP_S, FIRST_COMPLETED)
                for future in finished:
                    yield waiting.pop(future), future.result()
        except BrokenProcessPool as error:
            raise WorkerDiedError(
                "a worker process died (killed, or out of memory); run the same command again to "
                "continue, with fewer --workers if memory is short"
            ) from error
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Die at once with Ctrl-C, and when the parent is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel

        def watch() -> None:
            multiprocessing.connection.wait([sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for processes that are started inside, and for them only."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _progress_bar(
    title: str, total: int, done: int, console: Console
) -> Iterator[Callable[[], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=total, completed=done)
        yield lambda: progress.advance(task)
