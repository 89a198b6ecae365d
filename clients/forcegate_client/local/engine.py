"""The engine as this package sees it: loaded when it is needed, and its errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from forcegate_client.errors import ForcegateError, InvalidStructure, ModelRefused
from forcegate_client.extras import needing
from forcegate_client.wire.columns import not_finite

if TYPE_CHECKING:
    from forcegate_engine import EngineError

__all__ = ["EngineUnavailable", "forcegate_errors", "require_engine"]


class EngineUnavailable(ForcegateError):
    """The engine cannot compute on this machine, or failed by a fault of its own."""

    default_code = "engine_unavailable"
    title = "The engine cannot compute"


def require_engine() -> None:
    """Return if there is an engine.

    Raises:
        PackageMissing: if it is not installed.
    """
    with needing("local", "a student in this process"):
        import forcegate_engine  # noqa: F401


@contextmanager
def forcegate_errors() -> Iterator[None]:
    """What the engine raises within comes out as an error of this package.

    The engine knows nobody, so its errors are a tree of their own; whoever uses it through this
    package need not know them. ``structure`` is kept.

    Raises:
        ForcegateError: in place of every ``EngineError``.
    """
    from forcegate_engine import EngineError

    try:
        yield
    except EngineError as error:
        raise _translated(error) from error


def _translated(error: EngineError) -> ForcegateError:
    from forcegate_engine import errors as engine

    found: ForcegateError
    if isinstance(error, engine.WeightsRefused):
        found = ModelRefused(str(error))
    elif isinstance(error, engine.NotFinite):
        found = not_finite()
    elif isinstance(error, engine.TooLarge | engine.OutOfMemory):
        found = InvalidStructure(
            error.reason,
            expected="a structure that the engine can hold",
            action="divide it, or use a machine with more memory",
            code="structure_too_large",
        )
    elif isinstance(error, engine.BadStructure | engine.UnknownElement | engine.NoCharges):
        found = InvalidStructure(error.reason)
    else:
        found = EngineUnavailable(str(error))
    found.structure = error.structure
    return found
