"""Opening a version in this very process, by what serves it best."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from forcegate_engine.errors import LibraryMissing
from forcegate_service.contract.card import ENGINE_NAME, ModelCard
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.contract.runtime import LoadedRuntime
from forcegate_service.runtimes.engine import EngineRuntime

__all__ = ["Opened", "open_here", "resolve_device"]

# Where there is neither, there is no GPU to ask torch for, and torch is not imported.
_DRIVERS = (Path("/proc/driver/nvidia/version"), Path("/dev/dxg"))


class Opened(NamedTuple):
    """A runtime, and why it is not the engine; nothing if it is."""

    runtime: LoadedRuntime
    reason: str = ""


def resolve_device(name: str) -> str:
    """The device that ``auto`` stands for here; other names stand for themselves."""
    if name != "auto":
        return name
    if not any(driver.exists() for driver in _DRIVERS):
        return "cpu"
    try:
        import torch
    except ImportError:
        return "cpu"
    return "cuda" if torch.cuda.is_available() else "cpu"


def open_here(folder: Path, threads: int = 1, device: str = "cpu") -> Opened:
    """The version in ``folder``: the engine on a processor, TorchScript where that cannot be.

    Raises:
        ModelRefused: if the files do not match the card, or torch is needed and not installed.
    """
    card = ModelCard.load(folder)
    if device != "cpu":
        reason = f"the device is {device}"
    elif ENGINE_NAME not in card.files:
        reason = f"it has no {ENGINE_NAME}, which `forcegate-train export-weights` adds"
    else:
        try:
            return Opened(EngineRuntime(folder, threads))
        except LibraryMissing as error:
            reason = str(error)
    try:
        # Imported here because torch takes seconds, and nothing else needs it.
        import torch

        from forcegate_service.runtimes.torchscript import TorchScriptRuntime
    except ImportError as error:
        raise ModelRefused(
            f"{folder}: {reason}, and torch is not installed",
            expected="weights for the engine, or torch to serve model.pt",
            action="pip install 'forcegate[torchscript]'",
        ) from error
    torch.set_num_threads(threads)
    return Opened(TorchScriptRuntime(folder, device), reason)
