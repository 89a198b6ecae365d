"""One thread reads, some ask, one writes: parts go through in any order and end up on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forcegate_client.aside import run_aside
from forcegate_client.reading.chunk import Chunk
from forcegate_client.reading.process import Reader
from forcegate_client.remarks import Judge
from forcegate_client.screening.manifest import Manifest
from forcegate_client.screening.part import Part, part_of, read_part, write_part
from forcegate_client.screening.tasks import Evaluate, MovesAtoms, Task

__all__ = ["Todo", "left_to_do", "run_parts", "writer"]


@dataclass(frozen=True)
class Todo:
    """A part that is missing, or ``earlier``, in which some failures may have passed."""

    start: int
    stop: int
    earlier: Part | None = None

    @property
    def size(self) -> int:
        """Structures that will be asked about."""
        return self.stop - self.start if self.earlier is None else len(self.earlier.to_repeat)


def left_to_do(manifest: Manifest, folder: Path) -> list[Todo]:
    """What is missing, damaged, or worth another try."""
    found = []
    for start, stop in manifest.parts:
        path = manifest.part_path(folder, start)
        part = read_part(path, manifest.fingerprint) if path.exists() else None
        if part is None:
            found.append(Todo(start, stop))
        elif len(part.to_repeat):
            found.append(Todo(start, stop, part))
    return found


def run_parts(
    todo: list[Todo],
    reader: Reader,
    task: Task,
    evaluate: Evaluate,
    judge: Judge,
    write: Callable[[Part], None],
    *,
    at_once: int,
    stop: threading.Event,
    done: Callable[[Part, int], None],
) -> None:
    """Compute and write every part of ``todo``; ``done`` is told of each, and of its size.

    At most ``at_once`` parts are asked about at a time, as many wait to be asked about or written:
    memory does not grow with the input. The first error ends it, once what is under way has ended;
    so does a signal that raises.
    """

    def all_parts() -> None:
        with (
            ThreadPoolExecutor(1, "forcegate-read") as reading,
            ThreadPoolExecutor(at_once, "forcegate-ask") as asking,
            ThreadPoolExecutor(1, "forcegate-write") as writing,
        ):

            def read(item: Todo) -> Chunk:
                chunk = reader.read(item.start, item.stop)
                return chunk if item.earlier is None else chunk.only(item.earlier.to_repeat)

            def ask(item: Todo, chunk: Chunk) -> Part:
                work = task
                if isinstance(task, MovesAtoms) and (chunk.immovable or chunk.held.any()):
                    immovable = {place: asdict(p) for place, p in chunk.immovable.items()}
                    work = task.holding(chunk.held, immovable)
                part = part_of(chunk, work.run(chunk.structures, evaluate), judge)
                return part if item.earlier is None else item.earlier.completed_by(part)

            def through(item: Todo) -> Iterator[Future[Any]]:
                """The three steps of a part; each is handed out when the one before has ended."""
                chunk = reading.submit(read, item)
                yield chunk
                part = asking.submit(ask, item, chunk.result())
                # Neither is needed any more when the next is there.
                del chunk
                yield part
                result = part.result()
                yield writing.submit(write, result)
                done(result, item.size)

            waiting = iter(todo)
            under_way: dict[Future[Any], Iterator[Future[Any]]] = {}
            try:
                while not stop.is_set():
                    while (
                        len(under_way) < 2 * at_once and (item := next(waiting, None)) is not None
                    ):
                        steps = through(item)
                        under_way[next(steps)] = steps
                    if not under_way:
                        return
                    ended, _ = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in ended:
                        steps = under_way.pop(future)
                        future.result()
                        following = next(steps, None)
                        if following is not None:
                            under_way[following] = steps
            except BaseException:
                stop.set()
                raise
            finally:
                for future in under_way:
                    future.cancel()

    run_aside(all_parts, stop)


def writer(manifest: Manifest, folder: Path) -> Callable[[Part], None]:
    """Puts parts of ``manifest`` where they belong."""
    fingerprint = manifest.fingerprint

    def write(part: Part) -> None:
        write_part(manifest.part_path(folder, part.start), part, fingerprint)

    return write
