"""Ask the pinned model about structures, whatever the server is going through."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from forcegate_client.errors import (
    DeadlineExceeded,
    DigestChanged,
    ForcegateError,
    PayloadTooLarge,
    RuntimeUnavailable,
    ServerFault,
    ServerUnreachable,
    TooManyRequests,
    UnprocessableRequest,
)
from forcegate_client.http.client import Client
from forcegate_client.messages import Predictions
from forcegate_client.potential import Potential
from forcegate_client.relaxation.elsewhere import Minimum
from forcegate_client.relaxation.on_server import minima_of
from forcegate_client.runs import RUN_PATHS, RunRequest
from forcegate_client.screening.gate import Gate
from forcegate_client.screening.pin import PinnedModel
from forcegate_client.structures import StructureBatch

__all__ = ["Evaluator", "Stopped", "patiently"]

T = TypeVar("T")

# Large enough to fill the server's batches, small enough to be answered in a second or so.
STRUCTURES_PER_REQUEST = 256
ATOMS_PER_REQUEST = 16_384
# A request that takes too long or breaks the server is asked once more, then in halves.
_ATTEMPTS = 2
_LONGEST_PAUSE_S = 5.0


class Stopped(Exception):
    """Somebody called the screening off; what is in flight is not waited for."""


class Evaluator:
    """Calls give predictions of any number of structures; may be shared by threads.

    ``client`` must not retry by itself: refusals are how ``gate`` learns what the server takes.
    A server that is away is waited for, for ``patience_s`` since the last answer to anybody.
    """

    def __init__(
        self,
        client: Potential,
        model: PinnedModel,
        gate: Gate,
        *,
        patience_s: float,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.model = model
        self._client = client
        self._gate = gate
        self._patience_s = patience_s
        self._stop = stop
        self._clock = clock
        self._sleep = sleep or stop.wait
        self._answered_at = clock()

    @property
    def at_once(self) -> int:
        """How many requests may be under way now."""
        return int(self._gate.limit)

    def __call__(self, structures: StructureBatch, properties: Sequence[str]) -> Predictions:
        """Predictions of ``structures``; those that failed are in ``problems``.

        Raises:
            ForcegateError: if it makes no sense to go on: the server is away for too long, does
                not know the model or the key, or serves other weights.
            Stopped: if the screening was called off.
        """
        bounds = list(_cuts(structures.n_atoms))
        if len(bounds) == 1:
            return self._ask(structures, tuple(properties))
        found = [
            (start, self._ask(structures.select(np.arange(start, stop)), tuple(properties)))
            for start, stop in bounds
        ]
        return _joined(found)

    @cached_property
    def takes_steps(self) -> bool:
        """Whether the server relaxes structures itself.

        Raises:
            ForcegateError: if it does not say within our patience.
        """
        client = self._client
        if not isinstance(client, Client):
            return False
        return patiently(
            lambda: client.knows(RUN_PATHS["relax"]), patience_s=self._patience_s, stop=self._stop
        )

    def minima(self, request: RunRequest) -> Iterator[tuple[int, Minimum]]:
        """What becomes of each structure of ``request``; those that have ended are not begun anew.

        Raises:
            ForcegateError, Stopped: as a call.
        """
        left, failures = list(range(len(request.structures))), 0
        while left:
            found: dict[int, Minimum] = {}
            failed: ForcegateError | None = None
            try:
                self._collect(request.part(left), found)
            except TooManyRequests as error:
                self._require_patience(error)
            except (RuntimeUnavailable, ServerUnreachable) as error:
                self._require_patience(error)
                self._sleep(_pause_s(error, 1))
            except (DeadlineExceeded, ServerFault, UnprocessableRequest, PayloadTooLarge) as error:
                failed = error
            yield from ((left[place], minimum) for place, minimum in found.items())
            left = [b for place, b in enumerate(left) if place not in found]
            failures = failures + 1 if failed is not None and not found else 0
            if failed is not None and failures == _ATTEMPTS:
                # So that one structure that breaks a run does not take the others with it.
                for half in (left[: len(left) // 2], left[len(left) // 2 :]):
                    part = request.part(half)
                    if len(left) == 1 and half:
                        yield half[0], Minimum(part.structures.positions, 0, False, error=failed)
                    elif len(left) > 1:
                        yield from ((half[b], minimum) for b, minimum in self.minima(part))
                return

    def _collect(self, request: RunRequest, found: dict[int, Minimum]) -> None:
        assert isinstance(self._client, Client)
        named = replace(request, model=self.model.name, version=self.model.version)
        with self._gate.passing() as left_at:
            try:
                for b, minimum in minima_of(named, self._client, self.model.digest):
                    if self._stop.is_set():
                        raise Stopped
                    found[b] = minimum
                    self._answered_at = self._clock()
            except TooManyRequests as error:
                wait_s = 1.0 if error.retry_after_s is None else error.retry_after_s
                self._gate.refused(left_at, wait_s)
                raise
        self._gate.answered()

    def _ask(self, batch: StructureBatch, properties: tuple[str, ...]) -> Predictions:
        failures = 0
        pauses = 0
        while True:
            if self._stop.is_set():
                raise Stopped
            try:
                return self._once(batch, properties)
            except TooManyRequests as error:
                self._require_patience(error)
            except (RuntimeUnavailable, ServerUnreachable) as error:
                self._require_patience(error)
                pauses += 1
                self._sleep(_pause_s(error, pauses))
            except (DeadlineExceeded, ServerFault) as error:
                failures += 1
                if failures == _ATTEMPTS:
                    return self._in_halves(batch, properties, error)
            except (UnprocessableRequest, PayloadTooLarge) as error:
                return self._in_halves(batch, properties, error)

    def _once(self, batch: StructureBatch, properties: tuple[str, ...]) -> Predictions:
        with self._gate.passing() as left_at:
            if self._stop.is_set():
                raise Stopped
            try:
                response = self._client.predict(
                    batch, self.model.name, self.model.version, properties, on_error="partial"
                )
            except TooManyRequests as error:
                wait_s = 1.0 if error.retry_after_s is None else error.retry_after_s
                self._gate.refused(left_at, wait_s)
                raise
        self._gate.answered()
        self._answered_at = self._clock()
        if not response.comes_from(self.model.digest, self.model.card_digest):
            raise DigestChanged(
                response.origin,
                expected=f"{self.model.digest} and card {self.model.card_digest}, with which this "
                "screening began",
                action="serve the earlier version again, or screen into another folder",
            )
        return response.predictions

    def _require_patience(self, error: ForcegateError) -> None:
        # A server that refuses is there; but one that refuses for so long takes nothing at all.
        if self._clock() - self._answered_at > self._patience_s:
            raise error

    def _in_halves(
        self, batch: StructureBatch, properties: tuple[str, ...], error: ForcegateError
    ) -> Predictions:
        """So that one structure that breaks a request does not take the others with it."""
        size = len(batch)
        if size == 1:
            nothing = np.zeros(0, dtype=np.int64)
            return Predictions(nothing, nothing, problems={0: error.to_problem()})
        middle = size // 2
        parts = ((0, middle), (middle, size))
        return _joined(
            [(a, self._ask(batch.select(np.arange(a, b)), properties)) for a, b in parts]
        )


def patiently(call: Callable[[], T], *, patience_s: float, stop: threading.Event) -> T:
    """The first result of ``call``; a server that is away or full is asked again.

    Raises:
        ForcegateError: if it still is after ``patience_s``, or says anything else.
    """
    started = time.monotonic()
    pauses = 0
    while True:
        try:
            return call()
        except (TooManyRequests, RuntimeUnavailable, ServerUnreachable) as error:
            pauses += 1
            pause = _pause_s(error, pauses)
            if time.monotonic() + pause - started > patience_s or stop.wait(pause):
                raise


def _pause_s(error: ForcegateError, pauses: int) -> float:
    return max(error.retry_after_s or 0.0, min(0.1 * 2.0 ** min(pauses, 10), _LONGEST_PAUSE_S))


def _cuts(n_atoms: Any) -> Iterator[tuple[int, int]]:
    """Bounds of requests that are neither too many structures nor too many atoms."""
    ends = np.cumsum(n_atoms)
    start, size = 0, len(n_atoms)
    while True:
        before = int(ends[start - 1]) if start else 0
        fits = int(np.searchsorted(ends, before + ATOMS_PER_REQUEST, side="right"))
        stop = min(size, max(start + 1, min(fits, start + STRUCTURES_PER_REQUEST)))
        yield start, stop
        if stop >= size:
            return
        start = stop


def _joined(parts: list[tuple[int, Predictions]]) -> Predictions:
    """One answer of several, each with the place of its first structure."""
    columns: dict[str, Any] = {}
    full = [part for _, part in parts if len(part.index)]
    for name in ("energy", "forces", "energy_uncertainty", "max_novelty"):
        values = [getattr(part, name) for part in full]
        # Parts in which everything failed have no columns at all.
        if values and all(value is not None for value in values):
            columns[name] = np.concatenate(values)
    joined = Predictions(
        index=np.concatenate([part.index + start for start, part in parts]),
        n_atoms=np.concatenate([part.n_atoms for _, part in parts]),
        **columns,
    )
    problems = {i + start: p for start, part in parts for i, p in part.problems.items()}
    warnings = {i + start: w for start, part in parts for i, w in part.warnings.items()}
    return replace(joined, problems=problems, warnings=warnings)
