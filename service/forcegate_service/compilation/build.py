"""Starting a build, waiting for it, and ending it early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from forcegate_service.compilation.cache import Package
from forcegate_service.errors import CompilationFailed

__all__ = ["Build", "Built"]

_COMMAND = (sys.executable, "-m", "forcegate_service.compilation.builder")


@dataclass(frozen=True)
class Built:
    """A package, whether it was there already, and what building it took and showed.

    ``deviation`` is the largest of a force from TorchScript's, in eV/Å.
    """

    package: Package
    cached: bool
    seconds: float
    deviation: float


class Build:
    """A process of low priority that builds the package of one version."""

    def __init__(self, folder: Path, cache: Path, device: str, threads: int) -> None:
        options = ["--cache", str(cache), "--device", device, "--threads", str(threads)]
        # The build ends when this pipe does: with this object, or with this process.
        lifeline, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 (our own module)
                [*_COMMAND, str(folder), *options],
                stdin=lifeline,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        finally:
            os.close(lifeline)

    def wait(self) -> Built:
        """What was built.

        Raises:
            CompilationFailed: with the reason if nothing was.
        """
        output, log = self._process.communicate()
        os.close(self._lifeline)
        try:
            outcome = json.loads(output)
        except ValueError:
            lines = log.strip().splitlines() or [""]
            raise CompilationFailed(
                f"the build ended with code {self._process.returncode}: {lines[-1]}"
            ) from None
        if "error" in outcome:
            raise CompilationFailed(outcome["error"])
        return Built(
            package=Package(Path(outcome["path"]), outcome["digest"]),
            cached=outcome["cached"],
            seconds=outcome.get("seconds", 0.0),
            deviation=outcome.get("deviation", 0.0),
        )

    def stop(self) -> None:
        """End it now, with its compilers; ``wait`` then raises."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
