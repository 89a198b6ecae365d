"""Halve a batch that the server finds too large, and put the answers together again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from forcegate_client.errors import DigestChanged, ForcegateError, PayloadTooLarge
from forcegate_client.messages import Predictions, PredictRequest, PredictResponse

__all__ = ["join_responses", "predict_in_parts"]

V = TypeVar("V")


def predict_in_parts(
    request: PredictRequest, predict: Callable[[PredictRequest], PredictResponse]
) -> PredictResponse:
    """``predict(request)``, in as few halves as the server accepts.

    All parts are answered by the version that answered the first.

    Raises:
        PayloadTooLarge: if a single structure is too large.
        DigestChanged: if the served weights change between two parts.
    """
    try:
        return predict(request)
    except PayloadTooLarge as error:
        size = len(request.structures)
        if size < 2:
            error.structure = 0 if size else None
            raise
    middle = size // 2
    first = predict_in_parts(_part(request, 0, middle), predict)
    rest = replace(_part(request, middle, size), version=first.version)
    try:
        second = predict_in_parts(rest, predict)
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
    if first.digest != second.digest:
        raise DigestChanged(
            f"{second.model} {second.version} with digest {second.digest} for a part of the batch",
            expected=f"{first.digest}, as for the part before it",
            action="predict the batch again",
        )
    a, b = first.predictions, second.predictions
    columns = {
        name: None
        if getattr(a, name) is None
        else np.concatenate([getattr(a, name), getattr(b, name)])
        for name in ("energy", "forces", "stress", "energy_uncertainty", "max_novelty")
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
