"""An exported student, opened as the gateway opens it: by the engine where that is possible."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from forcegate_service.card import ModelCard
from forcegate_service.fake import load_fake
from forcegate_service.runtime import LoadedRuntime
from forcegate_service.runtimes.here import open_here

__all__ = ["opened", "serving"]

logger = logging.getLogger(__name__)


@contextmanager
def serving(folder: Path) -> Iterator[LoadedRuntime]:
    """The version in ``folder``, in this process and on one thread.

    Where the engine cannot evaluate it TorchScript answers, with a warning.

    Raises:
        ModelRefused: if the files do not match the card.
    """
    runtime, reason = open_here(folder)
    if reason:
        logger.warning("%s: TorchScript answers: %s", folder, reason)
    try:
        yield runtime
    finally:
        runtime.close()


@cache
def opened(folder: Path) -> LoadedRuntime:
    """The version in ``folder``, opened once in each process and closed when that ends.

    Raises:
        ModelRefused: if the files do not match the card.
    """
    if ModelCard.load(folder).architecture.get("kind") == "fake":
        # The toy has no weights.
        return load_fake(folder)
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(serving(folder))
