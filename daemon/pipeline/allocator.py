"""The C allocator's settings for this process: memory that was freed is kept for the next batch.

Non-obvious: glibc gives freed blocks of a few hundred KiB back to the kernel and faults them in again.
Fetch replies and produce requests of that size come and go all the time: 90,000 page faults for 1,000,000 events
(docs/decisions/0007-allocator.md). So it is told to keep them, before librdkafka starts its threads.
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
