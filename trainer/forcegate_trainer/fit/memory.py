"""Memory of the temporaries of a step, kept for the next one instead of given back."""

from __future__ import annotations

import ctypes

__all__ = ["keep_memory"]

# From glibc's <malloc.h> and <sys/mman.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_MADV_HUGEPAGE = 14
_HUGE_PAGE = 2**21

# More than the temporaries of any step. Addresses only: memory is used when it is written to.
_HEAP = 2**30
_NEVER = 2**31 - 1


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
