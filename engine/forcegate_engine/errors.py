"""What the engine refuses, and why.

Every message says what was received and what was expected. ``structure`` is the index of the first
structure that is to blame, None where it is none of them; ``reason`` is the message without it.
"""

from __future__ import annotations

__all__ = [
    "BadArgument",
    "BadStructure",
    "ChargeMismatch",
    "EngineError",
    "InternalError",
    "KernelMissing",
    "LibraryMissing",
    "NoCharges",
    "NotFinite",
    "OutOfMemory",
    "TooLarge",
    "UnknownElement",
    "WeightsRefused",
]


class EngineError(Exception):
    """Any failure of the engine."""

    def __init__(self, message: str, structure: int | None = None) -> None:
        super().__init__(message if structure is None else f"structure {structure}: {message}")
        self.reason = message
        self.structure = structure


class LibraryMissing(EngineError):
    """The compiled library is not there, or belongs to another release."""


class BadArgument(EngineError, ValueError):
    """Arrays whose shapes contradict each other, or a number that no call may have."""


class WeightsRefused(EngineError):
    """A file that holds no weights of a student, or not those that its model card names."""


class UnknownElement(EngineError):
    """An atom of an element that the student does not know."""


class BadStructure(EngineError):
    """Positions that are not finite, or a cell without a volume."""


class TooLarge(EngineError):
    """More neighbors, images or memory than a structure may take."""


class OutOfMemory(EngineError, MemoryError):
    """The machine has no memory left."""


class KernelMissing(EngineError):
    """A kernel that this processor cannot run."""


class NotFinite(EngineError):
    """The student has no finite answer: atoms lie where none was ever seen."""


class NoCharges(EngineError):
    """An ion, for a student that knows neutral structures alone."""


class ChargeMismatch(EngineError):
    """The atomic charges of a structure do not sum to the net charge that it was given."""


class InternalError(EngineError):
    """A fault of the engine itself."""
