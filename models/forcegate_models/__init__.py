"""The published students of forcegate: model cards and weights, data only."""

from __future__ import annotations

from pathlib import Path

__all__ = ["repository"]


def repository() -> Path:
    """The folder ``<model>/<version>/`` with a card and the engine's weights in each.

    In a checkout it is the repository that the wheel is made of.
    """
    here = Path(__file__).parent
    installed = here / "repository"
    return installed if installed.is_dir() else here.parents[1] / "model_repository"
