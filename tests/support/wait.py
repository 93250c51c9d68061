"""Waiting for a state, never for a time. One environment variable multiplies every limit on a slow machine."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
MULTIPLIER = float(os.environ.get("INGESTD_TEST_TIMEOUT_MULTIPLIER", "1"))


def wait_until(probe: Callable[[], T], what: str, timeout_s: float = 30.0, interval_s: float = 0.05) -> T:
    """What `probe` gives as soon as it is true. AssertionError naming `what` when the time is over."""
    deadline_s = time.monotonic() + timeout_s * MULTIPLIER
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s * MULTIPLIER:.0f} s: {what} (last seen: {value!r})")
        time.sleep(interval_s)
