"""The calculator that an engine's settings name."""

from __future__ import annotations

from typing import Any

from forcegate_client.errors import UnprocessableRequest
from forcegate_client.http.calculator import ModelCalculator, RemoteCalculator
from forcegate_client.local.calculator import LocalCalculator

__all__ = ["calculator_for"]

_YES, _NO = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})


def calculator_for(
    model: str = "painn_base",
    version: str | int | None = None,
    *,
    local: bool | str = False,
    url: str | None = None,
    **options: Any,
) -> ModelCalculator:
    """A ``LocalCalculator`` if ``local``, else a ``RemoteCalculator`` of ``url``.

    ``local`` may be the word of an input file, such as ``true``. ``options`` are those of the
    calculator.

    Raises:
        UnprocessableRequest: if that is contradictory, or ``local`` is neither yes nor no.
        ForcegateError: what the calculator raises.
    """
    word = str(local).strip().lower()
    if word not in _YES | _NO:
        raise UnprocessableRequest(
            f"local={local!r:.40}", expected="true or false", code="value_out_of_range"
        )
    if word in _NO:
        return RemoteCalculator(url, model, version, **options)
    if url is not None:
        raise UnprocessableRequest(
            f"local={local!r:.40} and url={url!r:.80}",
            expected="one of them",
            action="leave url out to compute in this process",
            code="value_out_of_range",
        )
    return LocalCalculator(model, version, **options)
