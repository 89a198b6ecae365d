"""Make an environment of its own for each peer: a few minutes and 2 GB each.

PIP_ARGS holds extra arguments for pip, as for `make install`: a machine without a GPU wants an
index with CPU builds of torch.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from forcegate_client.cli.outspoken import run

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parents[1] / ".bench" / "peers"
# Installed after the requirements, and without their own.
ALONE = {"schnetpack": ["schnetpack==2.1.1"]}
PEERS = sorted(path.stem for path in (HERE / "requirements").glob("*.txt"))


def install(peer: str) -> bool:
    """Make the peer's environment; whether it worked."""
    folder = ENVIRONMENTS / peer
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    extra = shlex.split(os.environ.get("PIP_ARGS", ""))
    steps = [
        [sys.executable, "-m", "venv", str(folder)],
        [*pip, *extra, "-r", str(HERE / "requirements" / f"{peer}.txt")],
        *([*pip, *extra, "--no-deps", name] for name in ALONE.get(peer, [])),
    ]
    for step in steps:
        if subprocess.run(step, check=False).returncode:
            # Half an environment would be taken for a whole one.
            shutil.rmtree(folder, ignore_errors=True)
            return False
    return True


def main(
    peers: Annotated[list[str] | None, typer.Argument(help="Which; all unless given.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also those that are there.")] = False,
) -> None:
    """Install peers that are to be measured beside the students."""
    failed = []
    for peer in peers or PEERS:
        if (ENVIRONMENTS / peer).is_dir() and not again:
            typer.echo(f"{peer}: there already")
        elif install(peer):
            typer.echo(f"{peer}: installed")
        else:
            failed.append(peer)
            typer.echo(
                f"{peer}: could not be installed; it will be missing from the tables", err=True
            )
    raise typer.Exit(1 if failed else 0)


if __name__ == "__main__":
    run(main)
