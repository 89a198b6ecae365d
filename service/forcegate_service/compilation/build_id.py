"""What a compiled package depends on besides the model: this machine and these options."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path

import torch

from forcegate_service.compiled import INDUCTOR_OPTIONS
from forcegate_service.kernel.library import source_digest

__all__ = ["build_id", "resolve_device"]

# Raised when the meaning of a package changes for reasons that nothing below tells.
_SCHEMA = 1


def resolve_device(name: str) -> str:
    """The device that ``auto`` stands for here; other names stand for themselves."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def build_id(device: str, threads: int) -> str:
    """A digest of all that makes one machine's code different from another's.

    The number of threads is written into the code, and so is every extension of the instruction
    set that the compiler finds (``-march=native``): run elsewhere, it would end the process.
    """
    described = {
        "schema": _SCHEMA,
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cpu": [platform.machine(), *_cpu_flags()],
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "threads": threads,
        "options": INDUCTOR_OPTIONS,
        "kernel": source_digest(),
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _cpu_flags() -> list[str]:
    """Model and instruction set extensions, where the system tells them."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return [platform.processor()]
    fields = {}
    for line in info.read_text(encoding="utf-8").partition("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value
    told = (fields.get(name, "") for name in ("model name", "flags", "features"))
    return [word for value in told for word in sorted(value.split())]
