"""Models compiled ahead of time: made for one machine, and run on it.

On a processor the network is the kernel's, written in C++, and AOTInductor compiles the float64
sums around it; elsewhere AOTInductor compiles all of an exported program. Either way the result is
one file, a package.
"""

from __future__ import annotations

import io
import os
import tempfile
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from forcegate_service.kernel.library import build_library, load_library, machine_lanes
from forcegate_service.kernel.network import kernel_potential
from forcegate_service.kernel.shape import KernelShape
from forcegate_service.program import trace
from forcegate_service.program_archive import require_plain

__all__ = ["INDUCTOR_OPTIONS", "CompiledModule", "compile_kernel", "compile_program"]

# Whatever changes the machine code belongs here: the cache's key holds these options.
INDUCTOR_OPTIONS: dict[str, Any] = {}
# The members of a package.
_PROGRAM, _KERNEL = "program.pt2", "kernel.so"


def compile_kernel(shape: KernelShape, state: Mapping[str, torch.Tensor], package: Path) -> None:
    """Compile a PaiNN with these weights into ``package``, for this machine's processor alone.

    ``state`` is the state dict of the exported model. Takes about twenty seconds and a C++
    compiler. ``package`` appears when it is complete.

    Raises:
        KeyError, RuntimeError: if the weights do not have this shape.
        CompilationFailed: if the compiler fails.
        Exception: whatever Inductor raises when it cannot compile.
    """
    with tempfile.TemporaryDirectory(dir=package.parent, prefix=".kernel-") as folder:
        library = Path(folder) / _KERNEL
        lanes = machine_lanes()
        build_library(library, lanes)
        load_library(library)
        _compile(trace(kernel_potential(shape, state, lanes)), package, library)


def compile_program(program: bytes, package: Path, *, device: str = "cpu") -> None:
    """Compile the content of a ``.pt2`` program into ``package``, for this machine alone.

    Takes half a minute and a C++ compiler. ``package`` appears when it is complete.

    Raises:
        ModelRefused: if the program holds anything but tensors and a graph.
        Exception: whatever Inductor raises when it cannot compile, e.g. without a compiler.
    """
    require_plain(program)
    with warnings.catch_warnings():
        # torch's own copying of its trees, nothing of ours.
        warnings.filterwarnings("ignore", r".*LeafSpec", FutureWarning)
        exported = torch.export.load(io.BytesIO(program))
        if device != "cpu":
            from torch.export.passes import move_to_device_pass

            exported = move_to_device_pass(exported, device)
    _compile(exported, package)


def _compile(exported: ExportedProgram, package: Path, library: Path | None = None) -> None:
    aside = package.with_name(f".{package.name}.{os.getpid()}")
    program = aside.with_suffix(".pt2")
    try:
        with warnings.catch_warnings():
            # As above.
            warnings.filterwarnings("ignore", r".*LeafSpec", FutureWarning)
            torch._inductor.aoti_compile_and_package(
                exported, package_path=str(program), inductor_configs=dict(INDUCTOR_OPTIONS)
            )
        with zipfile.ZipFile(aside, "w") as members:
            members.write(program, _PROGRAM)
            if library is not None:
                members.write(library, _KERNEL)
        aside.replace(package)
    finally:
        program.unlink(missing_ok=True)
        aside.unlink(missing_ok=True)


class CompiledModule:
    """A compiled package, ready to run; inputs are on its device and of the declared types."""

    def __init__(self, package: Path | io.BytesIO) -> None:
        """Load ``package``, a path or its content, which runs code in it.

        Raises:
            RuntimeError, OSError: if it cannot be loaded here.
        """
        # The loaders take paths. A folder that nobody else can reach holds the members for as
        # long as that takes.
        with tempfile.TemporaryDirectory(prefix="forcegate-") as name:
            folder = Path(name)
            with zipfile.ZipFile(package) as members:
                members.extractall(folder, set(members.namelist()) & {_PROGRAM, _KERNEL})
            if (folder / _KERNEL).exists():
                load_library(folder / _KERNEL)
            # The loader behind torch._inductor.aoti_load_package, without the compiler's import.
            # One runner and one caller at a time: no locks.
            program = str(folder / _PROGRAM)
            self._loader = torch._C._aoti.AOTIModelPackageLoader(program, "model", True, 1, -1)

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The outputs of the contract for its inputs."""
        # A package reads memory in order whatever the strides say: wrong numbers, and no error.
        # This is the one way into it.
        ordered = [tensor.contiguous() for tensor in inputs]
        outputs: Sequence[torch.Tensor] = self._loader.boxed_run(ordered)
        return tuple(outputs)
