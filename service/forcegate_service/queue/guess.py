"""What a request may cost, judged by the length of its body alone."""

from __future__ import annotations

from forcegate_service.api.negotiation import Form

__all__ = ["LengthGuess"]

# Before anything was seen: a microsecond a byte is a small model's pace.
_FIRST_S_PER_BYTE = 1e-6
_LEARNING_RATE = 0.05


class LengthGuess:
    """Predicted seconds a byte, learnt for each form from the requests that were read."""

    def __init__(self) -> None:
        self._pace: dict[Form, float] = {}

    def seconds(self, form: Form, length: int) -> float:
        """The guess for a body of ``length`` bytes."""
        return length * self._pace.get(form, _FIRST_S_PER_BYTE)

    def learn(self, form: Form, length: int, seconds: float) -> None:
        """What a body of ``length`` bytes turned out to ask for."""
        known = self._pace.get(form, _FIRST_S_PER_BYTE)
        self._pace[form] = known + _LEARNING_RATE * (seconds / max(length, 1) - known)
