"""Where a run computes."""

from __future__ import annotations

import torch

from forcegate_trainer.errors import SettingsError

__all__ = ["open_device"]


def open_device(name: str, *, tf32: bool) -> torch.device:
    """The device of that name, ``cpu`` or ``cuda``, set to the precision that was asked for.

    Raises:
        SettingsError: if it is another one, or cannot be used here.
    """
    if name not in ("cpu", "cuda"):
        raise SettingsError(f"received device {name!r}; expected cpu or cuda")
    if name == "cuda":
        if not torch.cuda.is_available():
            built = torch.version.cuda or "none"
            raise SettingsError(
                f"received device cuda, which this torch {torch.__version__} (CUDA: {built}) does "
                "not find; expected a GPU, its driver and a CUDA build of torch: use --device cpu"
            )
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
    return torch.device(name)
