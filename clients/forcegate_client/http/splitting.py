"""Halve a batch that the server finds too large, and put the answers together again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from forcegate_client.errors import DigestChanged, ForcegateError, PayloadTooLarge
from forcegate_client.messages import (
    PER_ATOM,
    PER_STRUCTURE,
    Predictions,
    PredictRequest,
    PredictResponse,
)

__all__ = ["in_parts", "join_responses"]

S = TypeVar("S")
V = TypeVar("V")


def in_parts(
    request: PredictRequest,
    predict: Callable[[PredictRequest], Generator[S, Any, PredictResponse]],
) -> Generator[S, Any, PredictResponse]:
    """The answer to ``request`` by ``predict``: whole, or in as few halves as the server accepts.

    All parts are answered by the version that answered the first.

    Raises:
        PayloadTooLarge: if a single structure is too large.
        DigestChanged: if the served weights change between two parts.
    """
    try:
        return (yield from predict(request))
    except PayloadTooLarge as error:
        size = len(request.structures)
        if size < 2:
            error.structure = 0 if size else None
            raise
    middle = size // 2
    first = yield from in_parts(_part(request, 0, middle), predict)
    rest = replace(_part(request, middle, size), version=first.version)
    try:
        second = yield from in_parts(rest, predict)
    except ForcegateError as error:
        if error.structure is not None:
            error.structure += middle
        raise
    return join_responses(first, second, middle)


def join_responses(
    first: PredictResponse, second: PredictResponse, first_size: int
) -> PredictResponse:
    """One response for the structures of both; ``first_size`` is how many the first was asked for.

    Raises:
        DigestChanged: if they come from different weights.
    """
    if not second.comes_from(first.digest, first.card_digest):
        raise DigestChanged(
            f"{second.origin} for a part of the batch",
            expected=f"{first.origin}, as for the part before it",
            action="predict the batch again",
        )
    a, b = first.predictions, second.predictions
    columns = {
        name: None
        if getattr(a, name) is None
        else np.concatenate([getattr(a, name), getattr(b, name)])
        for name in (*PER_STRUCTURE, *PER_ATOM)
    }
    return replace(
        first,
        timing={
            phase: first.timing.get(phase, 0.0) + second.timing.get(phase, 0.0)
            for phase in first.timing | second.timing
        },
        predictions=Predictions(
            index=np.concatenate([a.index, b.index + first_size]),
            n_atoms=np.concatenate([a.n_atoms, b.n_atoms]),
            problems=a.problems | _problems(b.problems, first_size),
            warnings=a.warnings | _shifted(b.warnings, first_size),
            **columns,
        ),
    )


def _part(request: PredictRequest, start: int, stop: int) -> PredictRequest:
    return replace(
        request,
        structures=request.structures.select(np.arange(start, stop)),
        ids=None if request.ids is None else request.ids[start:stop],
    )


def _shifted(entries: Mapping[int, V], by: int) -> dict[int, V]:
    return {index + by: entry for index, entry in entries.items()}


def _problems(entries: Mapping[int, dict[str, Any]], by: int) -> dict[int, dict[str, Any]]:
    return {
        index: problem | {"structure": index} for index, problem in _shifted(entries, by).items()
    }
