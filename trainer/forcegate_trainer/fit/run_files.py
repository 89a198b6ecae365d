"""What a run folder holds, and the datasets it was fitted to."""

from __future__ import annotations

__all__ = [
    "CHECKPOINT_NAME",
    "METRICS_NAME",
    "TENSORBOARD_NAME",
]

CHECKPOINT_NAME = "checkpoint.pt"
METRICS_NAME = "metrics.jsonl"
TENSORBOARD_NAME = "tensorboard"
