"""``forcegate-serve compile``: packages before they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from forcegate_client.errors import ForcegateError
from forcegate_service.compilation.build import Build
from forcegate_service.compilation.cache import PackageCache
from forcegate_service.errors import ModelRefused
from forcegate_service.loading import version_folders
from forcegate_service.settings import Settings

__all__ = ["compile_ahead"]


def compile_ahead(settings: Settings, models: Sequence[str], clean: bool) -> int:
    """Build the package of every version of ``models``, or of all; the result is the exit code.

    Raises:
        ModelRefused: if there is no such repository or model.
        CompilationFailed: if the cache cannot be used.
    """
    console = Console(soft_wrap=True, highlight=False)
    folders = version_folders(settings.model_repository)
    unknown = set(models) - {folder.parent.name for folder in folders}
    if unknown:
        raise ModelRefused(
            f"model {', '.join(sorted(unknown))}",
            expected=f"models of {settings.model_repository}",
            action="look at the folders there",
        )
    cache = PackageCache(settings.cache_dir)
    if clean:
        console.print(f"{cache.clean()} packages thrown away", markup=False)
    failed = 0
    for folder in folders:
        if models and folder.parent.name not in models:
            continue
        name = f"{folder.parent.name} version {folder.name}"
        try:
            with console.status(f"compiling {name}"):
                outcome = _outcome(settings, folder)
        except ForcegateError as error:
            failed += 1
            outcome = f"not compiled: {error}"
        console.print(f"{name}: {outcome}", markup=False)
    return 1 if failed else 0


def _outcome(settings: Settings, folder: Path) -> str:
    build = Build(folder, settings.cache_dir, settings.device, settings.torch_threads)
    try:
        built = build.wait()
    finally:
        build.stop()
    if built.cached:
        return "compiled already"
    parity = f"forces within {built.deviation:.1g} eV/Å of TorchScript"
    return f"compiled in {built.seconds:.0f} s; {parity}"
