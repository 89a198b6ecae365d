"""Disks on which there is no room: a real one of a few kilobytes, and files that may not grow."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["files_may_not_grow", "fill", "small_disk"]


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """``folder`` as a file system of its own with room for ``size`` bytes; needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size},mode=0700"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        said = f"no small disk without the right to mount one: {mounted.stderr.strip()}"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    try:
        yield folder
    finally:
        # Lazily: a process that is still ending may have its working files there.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on ``disk``; the file that takes it all."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    stream.write(b"\0" * size)
            except OSError:
                continue
    return ballast


@contextmanager
def files_may_not_grow(limit: int) -> Iterator[None]:
    """Within the block no file of this process may have more than ``limit`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
