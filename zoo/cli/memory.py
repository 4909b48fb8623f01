"""Memory that a process keeps to itself: large tensors on a CPU cost more to allocate than to fill."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_MOST = 2**31 - 1


def keep_freed() -> bool:
    """Let this process reuse the memory of large tensors that were freed, where the C library is glibc.

    By default glibc maps each tensor of over 32 MiB anew and unmaps it when it is freed, so that the kernel has to
    clear it page by page: at 64 pixels, that takes a CPU several times as long as filtering it does. The price is that
    the process holds on to the most memory it ever used. The command line does this for the verbs that compute; a
    program that uses the zoo as a library may.

    Returns:
        Whether it could be done.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _MOST) and mallopt(_TRIM_THRESHOLD, _MOST))
