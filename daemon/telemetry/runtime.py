"""What every component of a running daemon is given: where it counts and logs, the clocks, and random numbers."""

import logging
from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from ..rate_limited_log import RateLimitedLog
from .happenings import Happenings
from .metrics import Counters

REPEAT_INTERVAL_S: Final = 10.0


class Runtime(NamedTuple):
    """One for the whole daemon, made by `make_runtime`.

    happenings: counts and logs in one call; limited_log: says a repeated line once in REPEAT_INTERVAL_S. now_s: the
    loop's monotonic clock; wall_s: seconds since 1970. random: for the jitter of back-off.
    """

    counters: Counters
    happenings: Happenings
    log: logging.Logger
    limited_log: RateLimitedLog
    now_s: Callable[[], float]
    wall_s: Callable[[], float]
    random: Random


def make_runtime(
    *,
    counters: Counters,
    log: logging.Logger,
    now_s: Callable[[], float],
    wall_s: Callable[[], float],
    random: Random,
) -> Runtime:
    """The loggers that belong to these counters, this log and this clock, and all of them together."""
    return Runtime(
        counters=counters,
        happenings=Happenings(counters, log, now_s),
        log=log,
        limited_log=RateLimitedLog(log, REPEAT_INTERVAL_S, now_s),
        now_s=now_s,
        wall_s=wall_s,
        random=random,
    )
