"""What changes over a run: the learning rate and the weight of the energy."""

from __future__ import annotations

from forcegate_trainer.fit.config import FitConfig

__all__ = ["energy_weight", "learning_rate"]

# The part of a run after which rate and energy's weight begin to move.
_LATE = 0.8


def learning_rate(step: int, total_steps: int, config: FitConfig) -> float:
    """Linear warm-up, a constant rate, and a linear way down to the final rate in the last fifth.

    Until the way down begins nothing depends on the length of the run, so that it can be lengthened
    or ended at any time (Hu et al. 2024, arXiv:2404.06395). A short run warms up for a tenth of its
    steps.
    """
    warmup = min(config.warmup_steps, total_steps // 10)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    span = config.learning_rate - config.final_learning_rate
    return config.learning_rate - span * _late_progress(step, total_steps)


def energy_weight(step: int, total_steps: int, config: FitConfig) -> float:
    """Constant, or with a linear ramp to the late weight over the last fifth of the run."""
    if config.late_energy_weight is None:
        return config.energy_weight
    progress = _late_progress(step, total_steps)
    return config.energy_weight + progress * (config.late_energy_weight - config.energy_weight)


def _late_progress(step: int, total_steps: int) -> float:
    """0 until the last fifth of the run, then up to 1."""
    begin = _LATE * total_steps
    return min(1.0, max(0.0, (step - begin) / max(1.0, total_steps - begin)))
