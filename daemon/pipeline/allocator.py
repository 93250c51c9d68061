"""The C allocator's settings for this process: memory that was freed is kept for the next batch.

Fetch replies and produce requests of a few hundred KiB come and go all the time. With glibc's defaults each is mapped
anew or trimmed away, and its pages are faulted in again: 90,000 faults for 1,000,000 events (decision 0007).
"""

import ctypes

# malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# The largest that glibc takes. Anything larger is a giant event, which may be mapped for itself.
MMAP_THRESHOLD_BYTES = 32 << 20
# Above what is in use. The pipeline's own limits bound what was ever in use, and so this too.
TRIM_THRESHOLD_BYTES = 128 << 20


def keep_freed_memory() -> bool:
    """Runs on: the main thread, before librdkafka starts its own. False on another C library: nothing is changed."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    took = [mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES), mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)]
    return all(took)
