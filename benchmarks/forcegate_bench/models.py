"""What is measured: presets with random weights and stored models, compiled as they are served."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

import forcegate_service.compiled as compiled_source
import forcegate_service.program as program_source
import forcegate_trainer.painn as painn_source
from forcegate_bench.paths import CACHE
from forcegate_bench.structures import Shaken
from forcegate_bench.timing import Local
from forcegate_client.structures import StructureBatch
from forcegate_service.card import ModelCard
from forcegate_service.compiled import (
    INDUCTOR_OPTIONS,
    CompiledModule,
    compile_kernel,
    compile_program,
)
from forcegate_service.graph import build_graph
from forcegate_service.kernel.library import source_digest
from forcegate_service.kernel.shape import KernelShape
from forcegate_service.torchscript import load_script
from forcegate_trainer.painn.config import PRESETS, PaiNNConfig
from forcegate_trainer.painn.potential import Potential

__all__ = ["Inputs", "Model", "inputs_of", "potential_of", "preset_package", "program_package"]

Inputs = tuple[torch.Tensor, ...]


def potential_of(config: PaiNNConfig, seed: int = 0) -> Potential:
    """A student with random weights: what it costs does not depend on them."""
    torch.manual_seed(seed)
    return Potential(config).eval()


def inputs_of(batch: StructureBatch, cutoff: float) -> Inputs:
    """The six tensors of the model's contract, neighbour list included."""
    return tuple(torch.from_numpy(array) for array in build_graph(batch, cutoff).arrays())


@dataclass(frozen=True)
class Model:
    """Something that evaluates the six tensors of the contract; ``cutoff`` in Å."""

    name: str
    cutoff: float
    module: Callable[..., tuple[torch.Tensor, ...]]

    @staticmethod
    @cache
    def preset(name: str) -> Model:
        """Compiled for this machine; a minute, unless an earlier run did it."""
        return Model(name, PRESETS[name].cutoff, CompiledModule(preset_package(name)))

    @staticmethod
    def stored(folder: Path) -> Model:
        """A version of the model repository; TorchScript if there is nothing to compile."""
        card = ModelCard.load(folder)
        name = f"{card.name}/{card.version}"
        content = card.read(folder)
        shape = KernelShape.of(card.architecture)
        if shape is not None:

            def build(package: Path) -> None:
                compile_kernel(shape, load_script(content).state_dict(), package)

            module = CompiledModule(package_of(card.name, card.digest, build))
            return Model(name, card.cutoff, module)
        script = load_script(content)

        def evaluate(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            with torch.inference_mode():
                outputs: tuple[torch.Tensor, ...] = script(*inputs)
            return outputs

        return Model(f"{name} (TorchScript)", card.cutoff, evaluate)

    def evaluation(self, shaken: Shaken) -> Local:
        """Energies and forces of fresh positions; their neighbour list is not on the clock."""
        return Local(
            lambda: inputs_of(shaken.next_batch(), self.cutoff),
            lambda inputs: self.module(*inputs),
        )

    def evaluation_with_neighbours(self, shaken: Shaken) -> Local:
        """The same with the neighbour list."""
        return Local(shaken.next_batch, lambda batch: self.module(*inputs_of(batch, self.cutoff)))


def preset_package(name: str) -> Path:
    """The compiled package of a preset with random weights."""
    config = PRESETS[name]
    shape = KernelShape.of(vars(config))
    assert shape is not None  # the kernel knows every preset

    def build(package: Path) -> None:
        compile_kernel(shape, potential_of(config).state_dict(), package)

    return package_of(name, repr(config), build)


def program_package(name: str, identity: str, program: Callable[[], bytes], device: str) -> Path:
    """The compiled package of an exported program."""
    return package_of(
        name,
        f"program {identity} {device}",
        lambda package: compile_program(program(), package, device=device),
    )


def package_of(name: str, identity: str, build: Callable[[Path], None]) -> Path:
    """The package that ``build`` makes, unless an earlier run did.

    ``identity`` stands for the weights; they need not be there to find the package.
    """
    key = _key(f"{identity} {torch.get_num_threads()}")
    package = CACHE / "packages" / f"{name}-{key}"
    if not package.is_file():
        package.parent.mkdir(parents=True, exist_ok=True)
        build(package)
    return package


def _key(identity: str) -> str:
    """Changes with everything that the machine code is made from."""
    digest = hashlib.sha256(
        f"{identity} {INDUCTOR_OPTIONS} {torch.__version__} {source_digest()}".encode()
    )
    files = [Path(inspect.getfile(module)) for module in (compiled_source, program_source)]
    files += sorted(Path(inspect.getfile(painn_source)).parent.glob("*.py"))
    for file in files:
        digest.update(file.read_bytes())
    cpu = Path("/proc/cpuinfo")
    if cpu.is_file():
        flags = (line for line in cpu.read_text("utf-8").splitlines() if "flags" in line)
        digest.update(next(flags, "").encode())
    return digest.hexdigest()[:16]
