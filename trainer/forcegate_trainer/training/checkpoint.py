"""A training run's state on disk: written whole or not at all, loaded as data only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` (tensors, numbers, strings, lists and dicts of them) atomically."""
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what ``save_checkpoint`` wrote; nothing but data is accepted."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
