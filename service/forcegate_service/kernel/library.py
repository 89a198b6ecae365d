"""The kernel as a shared library, compiled on the machine that runs it."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from forcegate_service.errors import CompilationFailed

__all__ = ["build_library", "load_library", "machine_lanes", "source_digest", "supported"]

_FOLDER = Path(__file__).parent
_UNITS = ("network.cpp", "operator.cpp")
_FLAGS = (
    *("-std=c++20", "-O3", "-fPIC", "-shared", "-fopenmp"),
    # Multiply and add in one rounding; nobody reads errno or floating-point exceptions.
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
)
_loaded: set[Path] = set()


def supported() -> bool:
    """Whether the kernel can be compiled here at all: Linux, and a C++ compiler."""
    return sys.platform == "linux" and shutil.which(_compiler()[0]) is not None


def machine_lanes() -> int:
    """Floats in one vector of this machine."""
    return 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8


def source_digest() -> str:
    """A digest of the sources and of how they are compiled here."""
    digest = hashlib.sha256(repr((_compiler(), _FLAGS, _tuning(), machine_lanes())).encode())
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in {".h", ".cpp"}:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def build_library(path: Path, lanes: int, flags: Sequence[str] = ()) -> None:
    """Compile the kernel for this machine alone, with vectors of ``lanes`` floats (8 or 16).

    Takes about ten seconds. ``flags`` are further ones for the compiler.

    Raises:
        CompilationFailed: with the compiler's words, if it fails or is not there.
    """
    torch_folder = Path(torch.__file__).parent
    include = torch_folder / "include"
    # Linked against torch by name only: whoever loads it has torch in memory.
    command = [
        *(*_compiler(), *_FLAGS, *_tuning(), f"-DLANES={lanes}", *flags),
        *("-isystem", str(include), "-isystem", str(include / "torch/csrc/api/include")),
        *(str(_FOLDER / unit) for unit in _UNITS),
        *(f"-L{torch_folder / 'lib'}", "-ltorch_cpu", "-lc10", "-o", str(path)),
    ]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    except OSError as error:
        raise _failed(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if "error" in line]
        raise _failed(f"{command[0]}: {(complaints or ['no reason given'])[0]}")


def load_library(path: Path) -> None:
    """Make ``torch.ops.forcegate`` known to this process; a second time does nothing.

    Raises:
        OSError: if the library cannot be loaded here.
    """
    if not _loaded:
        torch.ops.load_library(str(path))
        torch.library.register_fake("forcegate::painn", _painn_shapes)
        torch.library.register_fake("forcegate::collect", _collect_shapes)
        _loaded.add(path)


def _failed(received: str) -> CompilationFailed:
    return CompilationFailed(
        received,
        expected="a compiler that knows C++20, such as g++ 11",
        action="install one, or name it by CXX",
    )


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CXX", "g++"))


def _tuning() -> tuple[str, ...]:
    return ("-march=native",) if platform.machine() in {"x86_64", "AMD64"} else ("-mcpu=native",)


def _painn_shapes(
    edge_vector: torch.Tensor,
    element: torch.Tensor,
    center: torch.Tensor,
    neighbor: torch.Tensor,
    packed: torch.Tensor,
    width: int,
    readout: int,
    features: int,
    *rest: object,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    atoms = element.shape[0]
    energy = packed.new_empty(atoms)
    return energy, torch.empty_like(edge_vector), packed.new_empty((atoms, features))


def _collect_shapes(
    edge_vector: torch.Tensor,
    gradient: torch.Tensor,
    center: torch.Tensor,
    neighbor: torch.Tensor,
    structure_index: torch.Tensor,
    n_atoms: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    atoms = structure_index.shape[0]
    return gradient.new_empty((atoms, 3)), gradient.new_empty((n_atoms.shape[0], 3, 3))
