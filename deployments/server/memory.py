"""Lets this process give memory back that it has freed, instead of keeping it for later."""

import ctypes

__all__ = ["give_back_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_BYTES = 128 * 1024


def give_back_freed_memory() -> None:
    """Sets glibc's allocator so; elsewhere it changes nothing. Must come before the first thread.

    With a pool of memory for each thread, and thresholds that grow with what was freed, an ingest of fifteen batches
    of 10,000 kept 70 MB more: https://man7.org/linux/man-pages/man3/mallopt.3.html.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for parameter, value in ((_ARENA_MAX, 1), (_TRIM_THRESHOLD, _BYTES), (_MMAP_THRESHOLD, _BYTES)):
        mallopt(parameter, value)
