"""Loading the form in which every model is exported."""

from __future__ import annotations

import io
import warnings

import torch

__all__ = ["load_script"]


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
