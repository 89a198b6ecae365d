"""Classes that times are told apart by: a step of dynamics is not a campaign."""

from __future__ import annotations

__all__ = ["LATENCY_BUCKETS_S", "SIZE_CLASSES", "size_class"]

# From a step of dynamics on a toy to the longest batch of requests that anybody waits for.
LATENCY_BUCKETS_S = (
    *(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)
_ONE, _FEW, _MANY, _NONE = SIZE_CLASSES = ("1", "2-32", "33+", "none")
_FEW_AT_MOST = 32


def size_class(structures: int | None) -> str:
    """The class of a request with so many structures; None is one that was never read so far."""
    if not structures:
        return _NONE
    if structures == 1:
        return _ONE
    return _FEW if structures <= _FEW_AT_MOST else _MANY
