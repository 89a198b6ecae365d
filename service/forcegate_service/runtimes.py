"""The runtimes there are, by the name that the settings use."""

from __future__ import annotations

from pathlib import Path

from forcegate_service.runtime import LoadedRuntime, RuntimeLoader
from forcegate_service.settings import Settings

__all__ = ["runtime_loader"]


def runtime_loader(settings: Settings) -> RuntimeLoader:
    """The function that opens one version of a model for ``settings.runtime``."""
    if settings.runtime == "fake":
        from forcegate_service.fake import load_fake

        return load_fake
    return _EmbeddedLoader(settings.torch_threads)


class _EmbeddedLoader:
    def __init__(self, threads: int) -> None:
        self._threads = threads

    def __call__(self, folder: Path) -> LoadedRuntime:
        # Imported here because torch takes seconds and only this runtime needs it.
        import torch

        from forcegate_service.embedded import EmbeddedRuntime

        torch.set_num_threads(self._threads)
        return EmbeddedRuntime(folder)
