"""The training step's row, from the benchmark that measures it."""

from __future__ import annotations

import importlib.util

from forcegate_bench.paths import ROOT
from forcegate_bench.rows import Findings, absent, at_least, plain

__all__ = ["measure_training"]

_LABEL = "training step: compiled / eager"
_LIMIT = 2.5


def measure_training(seconds: float) -> Findings:
    """Frames per second of training, eager and compiled."""
    path = ROOT / "benchmarks" / "training_step.py"
    if not path.is_file():
        return Findings([absent(_LABEL, f"≥ {_LIMIT:g}")], [f"No {path.name}: no training row."])
    spec = importlib.util.spec_from_file_location("training_step", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    speed = module.measure(seconds)
    return Findings(
        [
            at_least(_LABEL, speed["ratio"], _LIMIT),
            plain(
                "training step: compiled / eager whose freed memory is kept too",
                speed["ratio_memory_kept"],
                "×",
            ),
            plain("training, eager", speed["eager_frames_per_s"], "frames/s"),
            plain(
                "training, eager, freed memory kept",
                speed["eager_memory_kept_frames_per_s"],
                "frames/s",
            ),
            plain("training, compiled", speed["compiled_frames_per_s"], "frames/s"),
        ]
    )
