"""The runtimes there are, by the name that the settings use."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.runtime import LoadedRuntime, RuntimeLoader
from forcegate_service.machine import two_cores_with
from forcegate_service.settings import Settings

if TYPE_CHECKING:
    from forcegate_service.runtimes.process.host import InferenceEvents

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
    """The runtimes of a server; ``events`` hears of what evaluates a version, and of restarts."""
    if settings.runtime == "triton":
        return _triton(settings)
    if settings.runtime != "embedded":
        return Runtimes(runtime_loader(settings))

    # Imported here because only this runtime needs processes.
    from forcegate_service.runtimes.process.host import InferenceHost

    host = InferenceHost(
        settings.torch_threads,
        settings.device,
        events,
        awake_s=settings.inference_awake_s,
        timeout_s=settings.inference_timeout_s,
    )

    def load(folder: Path) -> LoadedRuntime:
        runtime = host.open(folder)
        _tell(runtime.card, runtime.reason)
        events.on_engine(runtime.card, not runtime.reason)
        return runtime

    return Runtimes(
        load,
        host.close,
        host.kill,
        available=lambda: host.available,
        apart=lambda: two_cores_with(host.pid),
    )


def runtime_loader(settings: Settings) -> RuntimeLoader:
    """What opens one version in this very process: the toy, or what ``embedded`` opens."""
    if settings.runtime == "fake":
        from forcegate_service.runtimes.fake import load_fake

        return load_fake

    from forcegate_service.runtimes.here import open_here, resolve_device

    def load(folder: Path) -> LoadedRuntime:
        device = resolve_device(settings.device)
        opened = open_here(folder, settings.torch_threads, device)
        _tell(opened.runtime.card, opened.reason)
        return opened.runtime

    return load


def _tell(card: ModelCard, reason: str) -> None:
    if reason:
        logger.warning("%s version %s: TorchScript serves: %s", card.name, card.version, reason)


def _triton(settings: Settings) -> Runtimes:
    # Imported here because only this runtime needs gRPC.
    from forcegate_service.runtimes.triton.servers import TritonServers

    servers = TritonServers(settings.triton_url, settings.triton_timeout_s)
    return Runtimes(
        load=servers.open,
        close=servers.close,
        available=servers.available,
        reached=servers.reached,
        lanes=servers.lanes,
        apart=lambda: True,
    )
