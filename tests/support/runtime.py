"""What a component under test is given in place of the daemon's own: counters, a log, clocks and a seeded random."""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from ingestd.telemetry.metrics import Counters
from ingestd.telemetry.runtime import Runtime, make_runtime


def quiet_log(name: str = "ingestd.test") -> logging.Logger:
    """A log that keeps nothing, and that pytest does not see."""
    log = logging.getLogger(name)
    log.addHandler(logging.NullHandler())
    log.propagate = False
    return log


def runtime_for_tests(log: logging.Logger, wall_s: Callable[[], float] = time.time) -> Runtime:
    """Called on a loop, whose clock it has."""
    return make_runtime(
        counters=Counters(),
        log=log,
        now_s=asyncio.get_running_loop().time,
        wall_s=wall_s,
        random=random.Random(1),
    )
