"""Where a run computes, and the memory that it keeps there."""

from __future__ import annotations

import ctypes

import torch

from forcegate_trainer.errors import SettingsError

__all__ = ["keep_memory", "open_device"]

# From glibc's <malloc.h> and <sys/mman.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_MADV_HUGEPAGE = 14
_HUGE_PAGE = 2**21

# More than the temporaries of any step. Addresses only: memory is used when it is written to.
_HEAP = 2**30
_NEVER = 2**31 - 1


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


def keep_memory() -> None:
    """Make this process keep freed memory, in large pages where the system has them.

    By default a large temporary is given back to the system as soon as it is freed, and the next
    one of its kind is faulted in page by page. Where the C library is not glibc nothing happens.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # The heap grows by one block, which stays on top of it, advised, when it is freed.
    block = libc.malloc(_HEAP)
    if block is None:
        return
    start = -(-block // _HUGE_PAGE) * _HUGE_PAGE
    libc.madvise(start, block + _HEAP - start - _HUGE_PAGE, _MADV_HUGEPAGE)
    libc.free(block)
