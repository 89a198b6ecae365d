"""The learning rate over a run."""

from __future__ import annotations

import math

from forcegate_trainer.training.config import FitConfig

__all__ = ["learning_rate"]


def learning_rate(step: int, total_steps: int, config: FitConfig) -> float:
    """Linear warm-up, then half a cosine down to the final rate (arXiv:1608.03983).

    A short run warms up for a tenth of its steps.
    """
    warmup = min(config.warmup_steps, total_steps // 10)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total_steps - warmup)
    span = config.learning_rate - config.final_learning_rate
    return config.final_learning_rate + 0.5 * span * (1.0 + math.cos(math.pi * min(1.0, progress)))
