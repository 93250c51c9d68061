"""Makes identifiers: UUIDv4 for events, trace ids and span ids. Safe to use from threads and after a fork.

`uuid.uuid4` costs 2 to 3.5 µs, as it asks the kernel for each id: here the kernel is asked once for 256 of them.
"""

import os
from typing import Final

from .._fastpath import uuid4_texts

_POOLED: Final = 256
_UUID_BYTES: Final = 16
_uuids: list[str] = []
_traces: list[str] = []
_spans: list[str] = []


# Non-obvious: ids that were drawn ahead are the parent's. A child of a fork begins with none, as with new locks: else
# both would publish the same ids.
def _forget() -> None:
    """Runs on: the child of a fork, before anything else of it."""
    for pool in (_uuids, _traces, _spans):
        pool.clear()


os.register_at_fork(after_in_child=_forget)


def new_event_id() -> str:
    """A UUIDv4 in its form of 36 characters, as the Go package makes it."""
    try:
        return _uuids.pop()
    except IndexError:
        made = uuid4_texts(os.urandom(_POOLED * _UUID_BYTES))
        last = made.pop()
        _uuids.extend(made)
        return last


def _draw(pool: list[str], digit_count: int) -> str:
    try:
        return pool.pop()
    except IndexError:
        digits = os.urandom(_POOLED * digit_count // 2).hex()
        made = [digits[i : i + digit_count] for i in range(0, len(digits), digit_count)]
        # W3C Trace Context: an id of zeros alone is invalid.
        made = [text for text in made if text.strip("0")] or ["1".zfill(digit_count)]
        last = made.pop()
        pool.extend(made)
        return last


def new_trace_id() -> str:
    """32 lower-case hex digits, not all zero (W3C Trace Context, `trace-id`)."""
    return _draw(_traces, 32)


def new_span_id() -> str:
    """16 lower-case hex digits, not all zero (W3C Trace Context, `parent-id`)."""
    return _draw(_spans, 16)
