"""The folder of a run: made for it, given back if nothing came of it, and never at a run's cost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forcegate_client.cli.console import CommandError
from forcegate_client.md.checkpoint import CHECKPOINT
from forcegate_client.writing.files import require_writable, unwritable

__all__ = ["before_name", "check_folder", "end_folder", "new_folder"]


def before_name(folder: Path) -> Path:
    """Where an earlier run is while the one that replaces it is not at its end."""
    return folder.with_name(f"{folder.name}.before")


def check_folder(folder: Path, overwrite: bool, marker: str) -> None:
    """Find out before the work begins whether a run can be put into ``folder``.

    Raises:
        CommandError: if it holds something that must not be replaced.
        OutputUnwritable: if nothing can be written there.
    """
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise CommandError(
                f"{folder} exists; choose another --out, add --continue to go on with the run in "
                "it, or --overwrite"
            )
        if not (folder / marker).is_file():
            raise CommandError(
                f"{folder} holds no {marker}, so it is not replaced; choose another --out"
            )
    elif folder.exists() and not folder.is_dir():
        raise CommandError(f"{folder} is a file; choose another --out")
    elif folder.parent.is_dir():
        require_writable(folder.with_name(f"{folder.name}.trial"))


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder; if no checkpoint is in it at the end, from which the run could go on, it
    goes and the earlier one comes back.

    Raises:
        OutputUnwritable: if it cannot be made.
    """
    aside = before_name(folder)
    try:
        if folder.is_dir() and any(folder.iterdir()):
            if aside.exists():
                # The one aside came to its end, this one did not.
                shutil.rmtree(folder)
            else:
                folder.rename(aside)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield folder
    finally:
        if folder.is_dir() and not (folder / CHECKPOINT).is_file():
            shutil.rmtree(folder)
            if aside.is_dir():
                aside.rename(folder)


def end_folder(folder: Path) -> None:
    """The run in ``folder`` is whole: the one that it replaces goes."""
    shutil.rmtree(before_name(folder), ignore_errors=True)
