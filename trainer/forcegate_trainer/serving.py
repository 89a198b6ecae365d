"""An exported student, opened as the gateway opens it: compiled where that is possible."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forcegate_client.errors import ForcegateError
from forcegate_service.compilation.build import Build
from forcegate_service.compilation.cache import default_cache_dir
from forcegate_service.inference.host import HostedRuntime, InferenceHost

__all__ = ["serving"]

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


def _adopt(runtime: HostedRuntime, folder: Path, cache: Path) -> None:
    build = Build(folder, cache, "cpu", 1)
    try:
        runtime.adopt(build.wait().package)
    except ForcegateError as error:
        logger.warning("%s is not compiled; TorchScript answers: %s", folder, error)
    finally:
        build.stop()
