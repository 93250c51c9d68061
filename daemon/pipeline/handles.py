"""Destroys librdkafka's handles on threads of their own, within a time limit.

Non-obvious: `rd_kafka_destroy` blocks, and never returns while one list, message, queue or topic of the handle is held.
So it is never called on the loop, batches give their messages back before, and `live_handles` counts what is left.
"""

import threading
import time
from collections.abc import Iterable

from .._librdkafka import Handle

# librdkafka's own threads have to end. With a bound, so that a stop always ends.
DESTROY_TIMEOUT_S = 8.0


def destroy_aside(handle: Handle) -> threading.Thread:
    """Destroy a handle on a thread of its own: librdkafka may take its time."""
    thread = threading.Thread(target=handle.destroy, name="destroy", daemon=True)
    thread.start()
    return thread


def destroy_all(handles: Iterable[Handle]) -> bool:
    """Runs on: a helper thread. False when librdkafka did not end its threads in time."""
    threads = [destroy_aside(handle) for handle in handles]
    deadline_s = time.monotonic() + DESTROY_TIMEOUT_S
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)
