"""All that a run needs to go on as if it had never stopped."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from forcegate_trainer.fit.step import TrainingStep
from forcegate_trainer.network.storage import CHECKPOINT_NAME, load_checkpoint, save_checkpoint

__all__ = ["RunState"]

# Steps over which the reported loss is averaged.
_RECENT = 200


class RunState:
    """Weights, optimisers and what is known about the fit, after ``step`` steps.

    ``best`` is the smallest loss of a validation, ``since_best`` the number of validations after
    it, ``known`` the last figures. A validation's loss is what the end of the run minimises:
    ``energy_weight`` is the weight of the energy there.
    """

    def __init__(self, parts: TrainingStep, energy_weight: float) -> None:
        self._parts = parts
        self._energy_weight = energy_weight
        self.step = 0
        self.best = float("inf")
        self.since_best = 0
        self.known: dict[str, float] = {}
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def heard(self, loss: float) -> None:
        """Count a step's loss, if it is finite, into the mean over the last ones."""
        if math.isfinite(loss):
            self._recent.append(loss)
            self.known["loss"] = float(np.mean(self._recent))

    def validated(self, metrics: dict[str, float]) -> bool:
        """Take note of a validation; whether it is the best so far."""
        self.known.update(metrics)
        # The mean norm of normally distributed errors is twice their components' MAE.
        force, energy = 2.0 * metrics["force_mae"], 1e-3 * metrics["energy_mae_mev_per_atom"]
        loss = force + self._energy_weight * energy
        better = loss < self.best
        self.best = min(self.best, loss)
        self.since_best = 0 if better else self.since_best + 1
        return better

    def save(self, folder: Path) -> None:
        """Write the checkpoint."""
        parts = self._parts
        state: dict[str, Any] = {
            "model": parts.model.state_dict(),
            "average": parts.average.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in parts.optimizers],
            "step": self.step,
            "best_loss": self.best,
            "energy_weight": self._energy_weight,
            "since_best": self.since_best,
            "known": dict(self.known),
            "recent": list(self._recent),
        }
        if parts.feature_map is not None:
            state["feature_map"] = parts.feature_map.state_dict()
        save_checkpoint(state, folder / CHECKPOINT_NAME)

    def restore(self, folder: Path) -> None:
        """Continue from the checkpoint in ``folder``, if there is one."""
        path = folder / CHECKPOINT_NAME
        if not path.is_file():
            return
        state, parts = load_checkpoint(path), self._parts
        parts.model.load_state_dict(state["model"])
        parts.average.model.load_state_dict(state["average"])
        # Earlier releases had one optimiser.
        known = state["optimizers"] if "optimizers" in state else [state["optimizer"]]
        for optimizer, stored in zip(parts.optimizers, known, strict=True):
            optimizer.load_state_dict(stored)
        if parts.feature_map is not None:
            parts.feature_map.load_state_dict(state["feature_map"])
        self.step, self.known = state["step"], state["known"]
        # Nor did their checkpoints have these; the best was once that with the least force RMSE.
        self.best = state.get("best_loss", float("inf"))
        self.since_best = state.get("since_best", 0)
        if state.get("energy_weight", self._energy_weight) != self._energy_weight:
            # Losses of another weight are no measure for those to come.
            self.best, self.since_best = float("inf"), 0
        self._recent.extend(state.get("recent", []))
