"""Freed memory that a process keeps for its next buffers, where the C library would hand it back to the system."""

import contextlib
import ctypes
import sys

# Source: glibc, malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

_LARGEST_KEPT = 32 << 20
"""Bytes from which on a buffer is handed back when it is freed; glibc refuses a larger number."""

NO_LIMIT = (1 << 31) - 1
"""The largest limit that glibc takes, in bytes."""

FOR_PHOTOS = 64 << 20
"""Bytes enough for what predicting one photo after the other frees and takes again."""


def keep_freed_memory(limit: int) -> None:
    """Keep up to `limit` bytes of freed memory in this process, if its C library is glibc.

    glibc gives a freed buffer of pixels or activations back to the system, and the next one costs a page fault per
    4 KB.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # musl has no mallopt
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
            mallopt(_M_TRIM_THRESHOLD, limit)
