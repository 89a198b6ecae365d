"""One part of a validation report: what was measured, in words, figures and data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure

__all__ = ["Section", "plain"]


@dataclass(frozen=True)
class Section:
    """One check of a subject.

    ``markdown`` shows each of ``figures`` as ``![…](NAME.png)``; names are unique in a report.
    ``data`` goes into ``report.json``; what is not known is None, with a reason beside it, never
    NaN. ``figures_for_verdict`` are numbers under the keys of ``verdict.CRITERIA``, or
    ``verdict.LONGEST_TIMESTEP``; a key that is absent was not measured.

    Raises:
        ValueError: if ``data`` or a figure for the verdict is no finite JSON.
    """

    title: str
    markdown: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    figures_for_verdict: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            json.dumps([self.data, self.figures_for_verdict], allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"section {self.title!r} received data that is no finite JSON ({error}); expected "
                "plain numbers, text, lists and dicts, and None for what is not known"
            ) from error


def plain(data: Any) -> Any:
    """``data`` with numbers of numpy as Python's, and None for numbers that are not finite."""
    if isinstance(data, Mapping):
        return {name: plain(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    if isinstance(data, np.generic):
        data = data.item()
    if isinstance(data, float) and not np.isfinite(data):
        return None
    return data
