"""A version of a model under Triton's Python backend; written by forcegate, stands for itself.

For servers that have no PyTorch backend. It runs in Triton's process for Python models, which has
torch and nothing of forcegate.
"""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import torch
import torch.utils.dlpack
import triton_python_backend_utils as triton

INPUTS = (
    "positions",
    "atomic_numbers",
    "edge_index",
    "edge_shift",
    "structure_index",
    "n_atoms",
)
PAIRS = ("pair_index", "pair_shift", "pair_cutoff")
OUTPUTS = (
    "energy__0",
    "forces__1",
    "virial__2",
    "energy_uncertainty__3",
    "atom_novelty__4",
)
CHARGES = "charges__5"


class TritonPythonModel:
    """Evaluates ``model.pt`` of the folder that this file is in."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the module, once its digest was compared with the card's."""
        folder = Path(args["model_repository"]) / args["model_version"]
        content = (folder / "model.pt").read_bytes()
        card = json.loads((folder / "model_card.json").read_text(encoding="utf-8"))
        received = "sha256:" + hashlib.sha256(content).hexdigest()
        expected = card["files"]["model.pt"]
        if received != expected:
            raise triton.TritonModelException(
                f"received {folder}/model.pt with {received}; expected {expected}; restore the "
                "exported file"
            )
        charges = card.get("interface", 1) == 2
        self.inputs = INPUTS + PAIRS if charges else INPUTS
        self.outputs = (*OUTPUTS, CHARGES) if charges else OUTPUTS
        self.module = torch.jit.load(io.BytesIO(content), map_location="cpu")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request by itself: the gateway has batched."""
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        """The outputs for one graph; an error of this request alone if the model fails."""
        # Through DLPack: the backend's own way to numpy was built for its first version.
        inputs = [
            torch.utils.dlpack.from_dlpack(
                triton.get_input_tensor_by_name(request, name).to_dlpack()
            )
            for name in self.inputs
        ]
        try:
            with torch.inference_mode():
                outputs = self.module(*inputs)
        except RuntimeError as error:
            message = f"the model failed: {str(error).splitlines()[-1]}"
            return triton.InferenceResponse(error=triton.TritonError(message))
        return triton.InferenceResponse(
            [
                triton.Tensor.from_dlpack(name, output.contiguous())
                for name, output in zip(self.outputs, outputs, strict=True)
            ]
        )
