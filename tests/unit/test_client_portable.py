"""The client needs nothing that only Unix has: it works where all of that is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# As far as a Unix can be one without its own: what others import is there before it is taken away.
ELSEWHERE = """
import importlib, os, pkgutil, select, signal, socket, sys
import ase.io, ase.md, ase.optimize, asyncio, filelock, h5py, httptools, httpx, matplotlib.figure
import msgpack, multiprocessing, pyarrow, rdkit.Chem, rich.progress, subprocess, tempfile, typer
import ase.calculators.singlepoint, typer.testing, concurrent.futures, http.server

for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "readline", "syslog"):
    sys.modules[name] = None
for module, names in {
    os: "fork forkpty register_at_fork getuid geteuid getgid getpgid killpg setsid"
        " sched_getaffinity O_CLOEXEC O_NOFOLLOW O_DIRECTORY chown fchmod statvfs mkfifo"
        " getloadavg",
    select: "poll epoll",
    signal: "SIGHUP SIGKILL SIGUSR1 SIGUSR2 SIGALRM SIGPIPE SIGQUIT pthread_sigmask alarm",
    socket: "AF_UNIX socketpair",
}.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

import forcegate_client
names = [m.name for m in pkgutil.walk_packages(forcegate_client.__path__, "forcegate_client.")]
for name in names:
    importlib.import_module(name)

from ase.build import molecule
from ase.io import write
from typer.testing import CliRunner
from forcegate_client.cli.app import app
from forcegate_client.testing import FakeServer, serve
write("water.extxyz", molecule("H2O"))
with serve(FakeServer()) as url:
    for command in (
        "models",
        "predict water.extxyz --model springs --out p.extxyz",
        "relax water.extxyz --model springs --out r.extxyz",
        "md water.extxyz --model springs --time-ps 0.01 --equilibrate-ps 0 --out m",
        "screen water.extxyz --model springs --out s --export csv",
        "screen water.extxyz --model springs --out s2 --task relax",
        "merge s",
    ):
        where = [] if command == "merge s" else ["--url", url]
        done = CliRunner().invoke(app, [*command.split(), *where])
        assert done.exit_code == 0, (command, done.output, done.exception)
print(len(names), "modules")
"""


def test_every_module_and_command_works_without_what_only_unix_has(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 50
