"""TorchScript in this process: for GPUs, and where the engine cannot evaluate a version."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import torch

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.errors import DeviceLost, RuntimeFault
from forcegate_service.contract.graph import Graph, listed
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.contract.size import torchscript_need
from forcegate_service.contract.structures import Structures

__all__ = ["TorchScriptRuntime", "load_script", "tensors_of"]


def load_script(content: bytes, device: str = "cpu") -> torch.jit.ScriptModule:
    """The module in the ``content`` of a ``model.pt``, whose digest the caller has checked.

    Raises:
        RuntimeError: if it is no TorchScript.
    """
    with warnings.catch_warnings():
        # TorchScript is the form that every runtime here loads; that torch recommends another
        # one for new work is nothing that whoever starts a server can act upon.
        warnings.filterwarnings("ignore", r".*torch\.jit", DeprecationWarning)
        module = torch.jit.load(io.BytesIO(content), map_location=device)
    evaluating: torch.jit.ScriptModule = module.eval()
    return evaluating


def tensors_of(graph: Graph) -> tuple[torch.Tensor, ...]:
    """The inputs of a model.

    The one gate through which they pass: contiguous, and writable because torch knows no other
    memory (arrays cut from a message's buffer, or shared, are copied here).
    """
    return tuple(torch.from_numpy(np.require(array, None, ["C", "W"])) for array in graph.arrays())


class TorchScriptRuntime:
    """One exported version of a model, loaded after its digests were checked."""

    concurrency = 1

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Load ``folder`` (one version of a model) onto ``device``.

        Raises:
            ModelRefused: if the files do not match the card; nothing of them has run then.
        """
        self.card = ModelCard.load(folder)
        # What was checked is what runs, even if the file changes in between.
        self._module = load_script(self.card.read(folder), device)
        self._device = device
        self.memory = torchscript_need(self.card.architecture)

    def evaluate(self, structures: Structures) -> ModelOutput:
        """The model's answer for all ``structures``.

        Raises:
            RuntimeFault: if the module itself fails.
            DeviceLost: if nothing can be computed on the device any more.
        """
        tensors = tensors_of(listed(structures, *self.card.reach))
        try:
            with torch.inference_mode():
                outputs = self._module(*(tensor.to(self._device) for tensor in tensors))
        except RuntimeError as error:
            if "CUDA error" in str(error):
                # After one of these the device answers nobody in this process any more.
                raise DeviceLost(str(error)) from error
            raise RuntimeFault(f"the model failed: {str(error).splitlines()[-1]}") from error
        return ModelOutput(*(output.cpu().numpy() for output in outputs))

    def close(self) -> None:
        """Forget the module."""
        del self._module
