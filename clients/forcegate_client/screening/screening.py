"""Screen a library: ask one model about every structure, and lose nothing on the way."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from forcegate_client.potential import Potential
from forcegate_client.reading.inputs import Input, as_inputs
from forcegate_client.reading.process import Reader, open_reader
from forcegate_client.remarks import Judge
from forcegate_client.retry import RetryPolicy
from forcegate_client.screening.errors import ResultsMismatch
from forcegate_client.screening.evaluator import Evaluator, patiently
from forcegate_client.screening.gate import Gate
from forcegate_client.screening.manifest import Manifest, Shard, file_digest
from forcegate_client.screening.part import Part
from forcegate_client.screening.pin import PinnedModel, pin
from forcegate_client.screening.pipeline import left_to_do, run_parts, writer
from forcegate_client.screening.tasks import SinglePoint, Task
from forcegate_client.writing.files import unwritable

__all__ = ["NO_RETRIES", "Progress", "Screened", "screen"]

NO_RETRIES = RetryPolicy(give_up_after_s=0.0, first_answer_within_s=0.0)
"""For the client of a screening: refusals have to reach the one who decides how much is asked."""


@dataclass(frozen=True)
class Progress:
    """How far it is: ``before`` structures were done earlier, ``done`` of ``total`` are now."""

    total: int
    before: int
    done: int
    failed: int
    at_once: int


@dataclass(frozen=True)
class Screened:
    """``folder`` holds the manifest and all parts; ``computed`` structures are new in it."""

    folder: Path
    manifest: Manifest
    computed: int


def screen(
    inputs: Sequence[str | Path | Input],
    out: str | Path,
    *,
    client: Potential,
    model: str = "painn_base",
    version: str | None = None,
    task: Task | None = None,
    shard: Shard | None = None,
    part_size: int = 1024,
    at_once: int = 8,
    patience_s: float = 600.0,
    progress: Callable[[Progress], None] | None = None,
) -> Screened:
    """Compute every structure of ``inputs`` that has no result in ``out`` yet.

    The first call pins version and digest of the model and writes a manifest; later ones continue
    where it was stopped or killed. ``client`` is best made with ``NO_RETRIES``. ``merge`` makes one
    file of it.

    Raises:
        InputUnreadable: if an input is missing or holds no structures.
        ResultsMismatch: if ``out`` holds results of other input, settings or model.
        ForcegateError: if the server is away for ``patience_s``, or refuses for good.
    """
    task = task or SinglePoint()
    shard = shard or Shard()
    files = as_inputs(inputs)
    folder = shard.folder(Path(out))
    with _new_or_known(folder), _alone(folder):
        files = [item.kept_in(folder) for item in files]
        reader = open_reader(files)
        try:
            earlier = Manifest.read(folder)
            if earlier is not None and version is None and earlier.model["name"] == model:
                version = str(earlier.model["version"])
            stop = threading.Event()
            pinned = _pinned(client, model, version, task, stop, patience_s)
            manifest = _manifest(files, reader, pinned, task, shard, part_size)
            if earlier is not None:
                manifest.require_same(earlier, folder)
            if earlier is None or earlier.judged != manifest.judged:
                manifest.write(folder)
            computed = _run(
                manifest,
                folder,
                reader,
                task,
                Evaluator(client, pinned, Gate(at_once), patience_s=patience_s, stop=stop),
                pinned.judge,
                at_once,
                stop,
                progress or _nobody,
            )
        finally:
            reader.close()
    return Screened(folder, manifest, computed)


def _run(
    manifest: Manifest,
    folder: Path,
    reader: Reader,
    task: Task,
    evaluate: Evaluator,
    judge: Judge,
    at_once: int,
    stop: threading.Event,
    progress: Callable[[Progress], None],
) -> int:
    todo = left_to_do(manifest, folder)
    total = manifest.stop - manifest.start
    before = total - sum(item.size for item in todo)
    done = failed = 0

    def tell() -> None:
        progress(Progress(total, before, before + done, failed, evaluate.at_once))

    def count(part: Part, size: int) -> None:
        nonlocal done, failed
        done += size
        failed += len(part.failures)
        tell()

    tell()
    if todo:
        write = writer(manifest, folder)
        run_parts(
            todo, reader, task, evaluate, judge, write, at_once=at_once, stop=stop, done=count
        )
    return done


def _pinned(
    client: Potential,
    model: str,
    version: str | None,
    task: Task,
    stop: threading.Event,
    patience_s: float,
) -> PinnedModel:
    """A gateway that is just being restarted or is full is waited for here as well."""
    return patiently(
        lambda: pin(client, model, version, task.properties), patience_s=patience_s, stop=stop
    )


def _manifest(
    inputs: list[Input],
    reader: Reader,
    pinned: PinnedModel,
    task: Task,
    shard: Shard,
    part_size: int,
) -> Manifest:
    files: list[dict[str, Any]] = [
        {**item.to_json(), "sha256": file_digest(item.path), **description}
        for item, description in zip(inputs, reader.describe(), strict=True)
    ]
    start, stop = shard.range(reader.size)
    return Manifest(
        files=files,
        model=pinned.to_json(),
        settings=task.settings() | {"columns": list(task.columns)},
        part_size=part_size,
        start=start,
        stop=stop,
        shard={"number": shard.number, "count": shard.count},
        judged={
            "status": dict(pinned.judge.status),
            "novelty_limit": pinned.judge.novelty_limit,
        },
    )


@contextmanager
def _new_or_known(folder: Path) -> Iterator[None]:
    """A folder for the results; one that was made for a start that failed does not stay.

    Raises:
        ResultsMismatch: if it holds something else.
        OutputUnwritable: if none can be made.
    """
    fresh = not folder.exists()
    parents = [parent for parent in folder.parents if not parent.exists()]
    try:
        _make_folder(folder / "parts")
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield
    finally:
        if fresh and Manifest.read(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)
            for parent in parents:
                with suppress(OSError):
                    parent.rmdir()


def _make_folder(parts: Path) -> None:
    folder = parts.parent
    foreign = folder.is_dir() and any(folder.iterdir()) and not parts.is_dir()
    # Shards lie side by side in it; everything else is somebody else's.
    shards = foreign and all(child.name.startswith("shard-") for child in folder.iterdir())
    if folder.is_file() or (foreign and not shards):
        raise ResultsMismatch(
            f"{folder}, which holds something else",
            expected="a new folder, or one with results of this screening",
            action="choose another --out",
        )
    if shards:
        raise ResultsMismatch(
            f"{folder}, which holds shards",
            expected="all shards with --shard, or none",
            action="add --shard, or choose another --out",
        )
    parts.mkdir(parents=True, exist_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two writers would compute everything twice.

    Raises:
        ResultsMismatch: if there is another one.
    """
    try:
        # It goes with the process that holds it, however that ends.
        lock = FileLock(folder / "lock", timeout=0.0).acquire()
    except Timeout as error:
        raise ResultsMismatch(
            f"{folder}, into which another process is screening",
            expected="one process for each folder",
            action="wait for it, or share the work with --shard",
        ) from error
    except OSError as error:
        raise unwritable(folder, error) from error
    with lock:
        yield


def _nobody(_: Progress) -> None:
    return
