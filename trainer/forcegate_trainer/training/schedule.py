"""What changes over a run: the learning rate and the weight of the energy."""

from __future__ import annotations

import math

from forcegate_trainer.training.config import FitConfig

__all__ = ["energy_weight", "learning_rate"]

# The part of a run after which the energy's weight begins to move.
_LATE = 0.8


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


def energy_weight(step: int, total_steps: int, config: FitConfig) -> float:
    """Constant, or with a linear ramp to the late weight over the last fifth of the run."""
    if config.late_energy_weight is None:
        return config.energy_weight
    begin = _LATE * total_steps
    progress = min(1.0, max(0.0, (step - begin) / max(1.0, total_steps - begin)))
    return config.energy_weight + progress * (config.late_energy_weight - config.energy_weight)
