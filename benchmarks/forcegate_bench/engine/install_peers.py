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

from forcegate_bench.paths import PEERS, ROOT

__all__ = ["install_peers"]

_REQUIREMENTS = ROOT / "benchmarks" / "peers" / "requirements"
# Installed after the requirements, and without their own.
_ALONE = {"schnetpack": ["schnetpack==2.1.1"]}
_NAMES = sorted(path.stem for path in _REQUIREMENTS.glob("*.txt"))


def _install(peer: str) -> bool:
    """Make the peer's environment; whether it worked."""
    folder = PEERS / peer
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    extra = shlex.split(os.environ.get("PIP_ARGS", ""))
    steps = [
        [sys.executable, "-m", "venv", str(folder)],
        [*pip, *extra, "-r", str(_REQUIREMENTS / f"{peer}.txt")],
        *([*pip, *extra, "--no-deps", name] for name in _ALONE.get(peer, [])),
    ]
    for step in steps:
        if subprocess.run(step, check=False).returncode:
            # Half an environment would be taken for a whole one.
            shutil.rmtree(folder, ignore_errors=True)
            return False
    return True


def install_peers(peers: list[str] | None, again: bool) -> list[str]:
    """Install those (all if None) that are not there, or ``again``; those that failed."""
    failed = []
    for peer in peers or _NAMES:
        if (PEERS / peer).is_dir() and not again:
            print(f"{peer}: there already")
        elif _install(peer):
            print(f"{peer}: installed")
        else:
            failed.append(peer)
    return failed
