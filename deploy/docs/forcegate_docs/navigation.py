"""The navigation, for the pages that a checkout has."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

__all__ = ["completed"]

_REPORTS = "Reports"


def completed(
    nav: list[Any], docs: str, optional: Collection[str], reports: list[dict[str, str]]
) -> list[Any]:
    """``nav`` without the optional pages that are not there, and with the models' reports.

    Anything else that is missing stays, so that mkdocs complains of it.
    """
    absent = {name for name in optional if not (Path(docs) / name).is_file()}
    return [_completed(entry, absent, reports) for entry in nav if not _is_absent(entry, absent)]


def _is_absent(entry: Any, absent: set[str]) -> bool:
    return isinstance(entry, dict) and any(
        isinstance(target, str) and target in absent for target in entry.values()
    )


def _completed(entry: Any, absent: set[str], reports: list[dict[str, str]]) -> Any:
    if not isinstance(entry, dict):
        return entry
    ((title, target),) = entry.items()
    if title == _REPORTS:
        return {title: reports}
    if isinstance(target, list):
        kept = [_completed(sub, absent, reports) for sub in target if not _is_absent(sub, absent)]
        return {title: kept}
    return entry
