"""The runtimes there are, by the name that the settings use."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forcegate_client.errors import ForcegateError
from forcegate_service.cores import two_cores_with
from forcegate_service.runtime import LoadedRuntime, RuntimeLoader
from forcegate_service.settings import Settings

if TYPE_CHECKING:
    from forcegate_service.compilation.background import Compilation
    from forcegate_service.inference.host import InferenceEvents, InferenceHost

__all__ = ["Runtimes", "open_runtimes", "runtime_loader"]

logger = logging.getLogger(__name__)


async def _at_once() -> None:
    """Nobody has to be waited for."""


@dataclass(frozen=True)
class Runtimes:
    """``load`` opens one version of a model; ``close`` gives back what all of them share, and
    ``kill`` ends processes that do not come to an end.

    ``available`` tells whether anything could be evaluated now, ``reached`` returns when that is
    so; ``lanes`` is how many batches are computed at the same time; ``apart`` whether they are
    computed on other cores than this process's.
    """

    load: RuntimeLoader
    close: Callable[[], None] = lambda: None
    kill: Callable[[], None] = lambda: None
    available: Callable[[], bool] = lambda: True
    reached: Callable[[], Awaitable[None]] = _at_once
    lanes: Callable[[], int] = lambda: 1
    apart: Callable[[], bool] = lambda: False


def open_runtimes(settings: Settings, events: InferenceEvents) -> Runtimes:
    """The runtimes of a server; ``events`` hears of compiled code and of restarts."""
    if settings.runtime == "triton":
        return _triton(settings)
    if settings.runtime != "embedded":
        return Runtimes(runtime_loader(settings))

    # Imported here because only this runtime needs processes.
    from forcegate_service.inference.host import InferenceHost

    host = InferenceHost(
        settings.torch_threads, settings.device, events, awake_s=settings.inference_awake_s
    )
    compilation = _compilation(settings, host, events)

    def load(folder: Path) -> LoadedRuntime:
        runtime = host.open(folder)
        events.compiled(runtime.card, False)
        if compilation is not None:
            compilation.consider(runtime)
        return runtime

    def close() -> None:
        if compilation is not None:
            compilation.close()
        host.close()

    return Runtimes(load, close, host.kill, apart=lambda: two_cores_with(host.pid))


def runtime_loader(settings: Settings) -> RuntimeLoader:
    """What opens one version in this very process: the toy, or TorchScript."""
    if settings.runtime == "fake":
        from forcegate_service.fake import load_fake

        return load_fake

    def load(folder: Path) -> LoadedRuntime:
        # Imported here because torch takes seconds and only this runtime needs it.
        import torch

        from forcegate_service.embedded import EmbeddedRuntime

        torch.set_num_threads(settings.torch_threads)
        return EmbeddedRuntime(folder)

    return load


def _triton(settings: Settings) -> Runtimes:
    # Imported here because only this runtime needs gRPC.
    from forcegate_service.triton.servers import TritonServers

    servers = TritonServers(settings.triton_url, settings.triton_timeout_s)
    return Runtimes(
        load=servers.open,
        close=servers.close,
        available=servers.available,
        reached=servers.reached,
        lanes=servers.lanes,
        apart=lambda: True,
    )


def _compilation(
    settings: Settings, host: InferenceHost, events: InferenceEvents
) -> Compilation | None:
    if settings.compile == "never":
        return None
    from forcegate_service.compilation.background import Compilation
    from forcegate_service.compilation.cache import PackageCache

    try:
        cache = PackageCache(settings.cache_dir)
    except ForcegateError as error:
        logger.warning("nothing is compiled; TorchScript serves: %s", error)
        return None
    return Compilation(host, cache, settings.device, settings.torch_threads, events)
