"""Small requests that arrive together are prepared together.

Python costs by the call, not by the atom: the checks of one molecule take about as long as those
of ten. A request that leaves the slightest doubt is prepared alone, so that what is wrong
with it is found, and told, in one place only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from forcegate_client.checks.composition import composition_warnings
from forcegate_client.checks.structures import check_structures
from forcegate_client.errors import InvalidStructure
from forcegate_client.messages import PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.structures import Structures, of_batch
from forcegate_service.contract.survey import look_at
from forcegate_service.predict.prepare import Prepared
from forcegate_service.queue.version import ServedVersion
from forcegate_service.settings import Settings

__all__ = ["JointPreparation"]

# Together they stay below what is worth a thread.
_MOST_ATOMS = 2048
# So many that wait are enough for inference that has nothing to do. Without this, clients that are
# answered together ask together, and inference and event loop only ever wait for each other.
_ENOUGH = 8
# However close they are to each other, they are computed within milliseconds.
_MOST_EARLY_ATOMS = 100
_PLAIN_PROPERTIES = frozenset({"energy", "forces", "uncertainty"})


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    request: PredictRequest
    version: ServedVersion
    alone: Callable[[], Prepared]
    ready: Callable[[Prepared], None]
    future: asyncio.Future[Prepared]


class JointPreparation:
    """Collects what arrives in one turn of the event loop; belongs to that loop.

    While ``idle()``, a few that wait are prepared at once, and ``hand_over()`` is called after; and
    ``begin_early()`` is told of a small structure before it is checked, which takes as long as a
    part of its evaluation.
    """

    def __init__(
        self,
        settings: Settings,
        idle: Callable[[], bool] = lambda: False,
        hand_over: Callable[[], None] = lambda: None,
        begin_early: Callable[[ServedVersion, Structures], None] = lambda version, structures: None,
    ) -> None:
        self._settings = settings
        self._idle, self._hand_over, self._begin_early = idle, hand_over, begin_early
        self._waiting: list[_Waiting] = []
        self._loop = asyncio.get_running_loop()

    async def prepare(
        self,
        request: PredictRequest,
        version: ServedVersion,
        alone: Callable[[], Prepared],
        ready: Callable[[Prepared], None] = lambda prepared: None,
    ) -> Prepared:
        """``request`` prepared for ``version``, with its like if it can be, else by ``alone()``.

        ``ready`` is told of it at once, and this coroutine in a later turn of the loop.

        Raises:
            ForcegateError: what ``alone`` or ``ready`` raises.
        """
        if not _plain(request, self._settings):
            return _ready(alone(), ready)
        future: asyncio.Future[Prepared] = self._loop.create_future()
        if not self._waiting:
            self._loop.call_soon(self._prepare_waiting)
        self._waiting.append(_Waiting(request, version, alone, ready, future))
        if len(self._waiting) >= _ENOUGH and self._idle():
            self._prepare_waiting()
            self._hand_over()
        return await future

    def prepare_now(
        self,
        request: PredictRequest,
        version: ServedVersion,
        alone: Callable[[], Prepared],
        ready: Callable[[Prepared], None],
    ) -> Prepared:
        """The same of one that nobody comes with."""
        found = None
        if _plain(request, self._settings):
            batch = request.structures
            if len(batch) == 1 and batch.total_atoms <= _MOST_EARLY_ATOMS and self._idle():
                self._begin_early(version, of_batch(batch))
            found = _prepare_all([request], version, self._settings.max_edges)
        return _ready(alone() if found is None else found[0], ready)

    def _prepare_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        groups: dict[ServedVersion, list[_Waiting]] = {}
        for one in waiting:
            if not one.future.done():
                groups.setdefault(one.version, []).append(one)
        for version, group in groups.items():
            for together in _portions(group):
                _settle(version, together, self._settings.max_edges)


def _ready(prepared: Prepared, ready: Callable[[Prepared], None]) -> Prepared:
    ready(prepared)
    return prepared


def _plain(request: PredictRequest, settings: Settings) -> bool:
    """Whether nothing but elements, coordinates and distances can be wrong with it, or odd."""
    batch = request.structures
    return (
        0 < batch.total_atoms <= min(_MOST_ATOMS // 8, settings.max_atoms)
        and len(batch) <= settings.max_structures
        and not np.count_nonzero(batch.pbc)
        and bool(request.properties)
        and not request.remarks
        and _PLAIN_PROPERTIES.issuperset(request.properties)
    )


def _portions(group: Sequence[_Waiting]) -> list[list[_Waiting]]:
    portions: list[list[_Waiting]] = [[]]
    atoms = 0
    for one in group:
        atoms += one.request.structures.total_atoms
        if portions[-1] and atoms > _MOST_ATOMS:
            portions.append([])
            atoms = one.request.structures.total_atoms
        portions[-1].append(one)
    return portions


def _settle(version: ServedVersion, together: Sequence[_Waiting], max_edges: int) -> None:
    found = _prepare_all([one.request for one in together], version, max_edges)
    for k, one in enumerate(together):
        try:
            prepared = one.alone() if found is None else found[k]
            one.ready(prepared)
            one.future.set_result(prepared)
        except Exception as error:
            one.future.set_exception(error)


def _prepare_all(
    requests: Sequence[PredictRequest], version: ServedVersion, max_edges: int
) -> list[Prepared] | None:
    """All ``requests``, or None if something is wrong with any of them, as with its structures or
    more than ``max_edges`` edges, or with the time or memory that one would
    take.
    """
    started = time.perf_counter()
    card = version.card
    batch = requests[0].structures
    if len(requests) > 1:
        batch = StructureBatch.concatenate([request.structures for request in requests])
    if check_structures(batch, card, ()):
        return None
    try:
        found, near = look_at(batch, card)
    except InvalidStructure:
        return None
    if near.refused or version.limit.too_large(found):
        return None
    # Alone one of them may still be within its limit.
    if version.limit.listed(found) > max_edges:
        return None
    ends = [*accumulate(len(request.structures) for request in requests)]
    microbatches = version.limit.microbatches_of(found, ends)
    if microbatches is None:
        return None
    warnings = composition_warnings(batch)
    for b, contact in near.remarked.items():
        warnings.setdefault(b, []).append(contact.remark)
    graph_s = (time.perf_counter() - started) / len(requests)
    prepared = []
    first = 0
    for request, microbatch in zip(requests, microbatches, strict=True):
        size = len(microbatch.structures.n_atoms)
        prepared.append(
            Prepared(
                request=request,
                index=np.arange(size),
                microbatches=[microbatch],
                problems={},
                warnings={b: warnings[first + b] for b in range(size) if first + b in warnings}
                if warnings
                else {},
                graph_s=graph_s,
            )
        )
        first += size
    return prepared
