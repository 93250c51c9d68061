"""Back-off: how long to wait before the next try, doubling, with jitter."""

from random import Random


def delay_s(attempt: int, random: Random, *, first_s: float = 0.1, max_s: float = 5.0) -> float:
    """Doubling from `first_s` up to `max_s`, with full jitter in its upper half so that a fleet spreads out."""
    whole_s = min(max_s, first_s * float(2 ** min(attempt, 16)))
    return whole_s * (0.5 + 0.5 * random.random())
