"""Relax as many structures as there are, a few hundred at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from itertools import islice
from threading import Thread
from typing import TypeVar

from ase import Atoms

from forcegate_client.errors import ForcegateError
from forcegate_client.messages import Predictions
from forcegate_client.relaxation.fire import Fire
from forcegate_client.relaxation.group import Group, Rules
from forcegate_client.relaxation.outcome import Evaluate, Relaxed

__all__ = ["begin", "relax_batched"]

T = TypeVar("T")


def relax_batched(
    structures: Iterable[Atoms],
    evaluate: Evaluate,
    *,
    fmax: float = 0.05,
    max_steps: int = 500,
    slots: int = 256,
    in_flight: int = 2,
    explosion: float = 1e4,
    fire: Fire | None = None,
) -> Iterator[Relaxed]:
    """Bring ``structures`` to their minima with FIRE; they come out as they get there.

    Positions alone are relaxed: a periodic cell stays as it is. At most ``slots`` structures are
    on their way at a time; one that is done leaves its slot to the next, which is only then taken
    from ``structures``. They move in ``in_flight`` groups: while ``evaluate`` answers for one in a
    thread, the next is moved. Each takes the path that ``ase.optimize.FIRE`` would take it on,
    whatever moves beside it, to the same criterion: no atom with a force of ``fmax`` (eV/Å) or
    more. ``FixAtoms`` and ``FixCartesian`` are respected.

    What fails does so alone, with a ``problem``: a structure that ``evaluate`` refuses, whose
    numbers are not finite, which feels more than ``explosion`` (eV/Å), or with another constraint.

    Raises:
        ForcegateError: what ``evaluate`` raised without naming a structure. What was on its way
            is then lost; what was done came out before.
        ValueError: if there would be no slots or no groups, or no step.
    """
    if slots < 1 or in_flight < 1 or max_steps < 1:
        raise ValueError(
            f"slots={slots}, in_flight={in_flight}, max_steps={max_steps}; "
            "expected at least one of each"
        )
    rules = Rules(fmax, max_steps, explosion, fire or Fire())
    return _relax(enumerate(structures), evaluate, rules, slots, min(in_flight, slots))


def _relax(
    source: Iterator[tuple[int, Atoms]],
    evaluate: Evaluate,
    rules: Rules,
    slots: int,
    in_flight: int,
) -> Iterator[Relaxed]:
    waiting: deque[tuple[Group, Future[Predictions]]] = deque()
    # Dealt out, so that a few structures are in flight alternately as well.
    first = list(islice(source, slots))
    for start in range(in_flight):
        group = Group(rules, slots // in_flight + (start < slots % in_flight))
        yield from group.fill(iter(first[start::in_flight]))
        yield from group.fill(source)
        if len(group):
            waiting.append((group, begin(partial(evaluate, group.batch))))
    del first
    while waiting:
        group, answer = waiting.popleft()
        done = _advance(group, answer)
        # Asked before the results are handed out: the server works while the caller does.
        done += group.fill(source)
        if len(group):
            waiting.append((group, begin(partial(evaluate, group.batch))))
        yield from done


def begin(work: Callable[[], T]) -> Future[T]:
    """Have ``work`` done in a thread.

    A daemon, which those of a pool are not: whoever presses Ctrl-C while the server is away, and
    the client waits for it, wants the program to end.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=run, daemon=True, name="forcegate-relax").start()
    return answer


def _advance(group: Group, answer: Future[Predictions]) -> list[Relaxed]:
    try:
        found = answer.result()
    except ForcegateError as error:
        if error.structure is None or not 400 <= error.status < 500:
            raise
        # The others were not answered; they are asked for again where they are.
        return [group.fail(error.structure, error)]
    return group.advance(found)
