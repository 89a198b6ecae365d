"""Whether a process keeps growing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["growth"]


def growth(mib: Sequence[float], part: float = 1 / 3) -> float:
    """By what part the mean of the last ``part`` of the samples exceeds that of the first.

    One of them at least is in each; NaN if a sample is: the process ended.
    """
    count = max(1, int(part * len(mib)))
    return float(np.mean(mib[-count:]) / np.mean(mib[:count]) - 1.0)
