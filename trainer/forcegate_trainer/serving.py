"""An exported student, opened as the gateway opens it: compiled where that is possible."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from forcegate_client.errors import ForcegateError
from forcegate_service.card import ModelCard
from forcegate_service.compilation.build import Build
from forcegate_service.compilation.cache import default_cache_dir
from forcegate_service.fake import load_fake
from forcegate_service.inference.host import HostedRuntime, InferenceHost
from forcegate_service.runtime import LoadedRuntime

__all__ = ["opened", "serving"]

logger = logging.getLogger(__name__)


@contextmanager
def serving(
    folder: Path, *, compiled: bool = True, cache: Path | None = None
) -> Iterator[HostedRuntime]:
    """The version in ``folder``, in an inference process that uses one thread.

    Compiled code answers if a compiler is at hand (half a minute the first time), otherwise
    TorchScript, with a warning. ``cache`` holds the packages; the service's by default.

    Raises:
        ModelRefused: if the files do not match the card.
    """
    host = InferenceHost(1, "cpu")
    try:
        runtime = host.open(folder)
        if compiled:
            _adopt(runtime, folder, cache or default_cache_dir())
        yield runtime
    finally:
        host.close()


@cache
def opened(folder: Path) -> LoadedRuntime:
    """The version in ``folder``, opened once in each process and closed when that ends.

    Raises:
        ModelRefused: if the files do not match the card.
    """
    if ModelCard.load(folder).architecture.get("kind") == "fake":
        # The toy needs no inference process.
        return load_fake(folder)
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(serving(folder))


def _adopt(runtime: HostedRuntime, folder: Path, cache: Path) -> None:
    build = Build(folder, cache, "cpu", 1)
    try:
        runtime.adopt(build.wait().package)
    except ForcegateError as error:
        logger.warning("%s is not compiled; TorchScript answers: %s", folder, error)
    finally:
        build.stop()
