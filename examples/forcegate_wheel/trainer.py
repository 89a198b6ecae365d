"""The trainer's command line, as a user calls it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["PROGRAM", "TEACHER", "run_trainer"]

# Of the dataset that the turn begins with.
TEACHER = "aimnet2"
PROGRAM = str(Path(sys.executable).with_name("forcegate-train"))


def run_trainer(*arguments: str) -> None:
    """Run ``forcegate-train`` to its end; its output goes to ours.

    Raises:
        CalledProcessError: if it fails.
    """
    print("\n$ forcegate-train " + " ".join(arguments), flush=True)
    subprocess.run([PROGRAM, *arguments], check=True)
