"""What happens to a daemon: each kind has its counter and its log line, so that the two cannot disagree.

A line is said at once, and then every ten seconds at most for the same labels; it carries the counter's total, so that
what was kept back is in it.
"""

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from ..rate_limited_log import RateLimitedLog
from .metrics import METRICS, Counters

REPEAT_INTERVAL_S: Final = 10.0


class Happening(NamedTuple):
    """One kind. Its labels are those of its metric, and stand as fields in the line. always: every one has its line."""

    metric: str
    level: int
    message: str
    always: bool = False


# What becomes of events.
DROPPED: Final = Happening("ingestd_events_discarded_total", logging.INFO, "events are dropped")
DEAD_LETTERED: Final = Happening("ingestd_dead_letters_total", logging.WARNING, "bad events go to the dead letters")
ABANDONED: Final = Happening("ingestd_events_abandoned_total", logging.WARNING, "events are given back unfinished")
MISSED: Final = Happening(
    "ingestd_records_missed_total",
    logging.ERROR,
    "records were deleted before they were read, reading goes on at the log's start",
    always=True,
)
# What the group, the operator and the sinks do. The label says which.
ASSIGNED: Final = Happening("ingestd_rebalances_total", logging.INFO, "partitions assigned", always=True)
GIVEN_BACK: Final = Happening("ingestd_rebalances_total", logging.INFO, "partitions given back", always=True)
UNDRAINED: Final = Happening(
    "ingestd_rebalances_total", logging.WARNING, "partitions given back before they were drained", always=True
)
LOST: Final = Happening("ingestd_rebalances_total", logging.WARNING, "partitions lost", always=True)
RELOADED: Final = Happening("ingestd_reloads_total", logging.INFO, "config reloaded", always=True)
RELOADED_PARTLY: Final = Happening(
    "ingestd_reloads_total", logging.WARNING, "config reloaded, some keys need a restart", always=True
)
RELOAD_REFUSED: Final = Happening(
    "ingestd_reloads_total", logging.ERROR, "the new config has problems, the old one stays", always=True
)
RECONNECTED: Final = Happening("ingestd_reconnects_total", logging.INFO, "redis connected again", always=True)
HELD_BACK: Final = Happening(
    "ingestd_held_back_total", logging.WARNING, "nothing more is taken until a sink has answered", always=True
)
# Errors that are retried or reported.
SOURCE_ERROR: Final = Happening("ingestd_errors_total", logging.WARNING, "kafka reports an error of the source")
COMMIT_ERROR: Final = Happening("ingestd_errors_total", logging.WARNING, "a commit failed, librdkafka tries again")
CLIENT_ERROR: Final = Happening("ingestd_errors_total", logging.WARNING, "kafka client error")
SHUT_OUT: Final = Happening(
    "ingestd_errors_total", logging.ERROR, "kafka has shut this consumer out, the daemon ends", always=True
)
PRODUCE_ERROR: Final = Happening("ingestd_errors_total", logging.WARNING, "kafka refused records, they are sent again")
REDIS_ERROR: Final = Happening("ingestd_errors_total", logging.WARNING, "redis answers with an error")
REDIS_AWAY: Final = Happening("ingestd_errors_total", logging.WARNING, "redis is not available")


class Happenings:
    """Runs on: the loop. Called once a batch at most, or when something happens; never an event."""

    def __init__(self, counters: Counters, log: logging.Logger, now: Callable[[], float]) -> None:
        self._counters = counters
        self._log = log
        self._limited_log = RateLimitedLog(log, REPEAT_INTERVAL_S, now)

    def note(self, what: Happening, *labels: str, count: int = 1, **fields: object) -> None:
        """Count it, and say it. Labels in the order of METRICS; `fields` are in the line alone."""
        self._counters.add(what.metric, *labels, count=count)
        named = dict(zip(METRICS[what.metric].labels, labels, strict=True))
        said = {**named, "count": count, "total": self._counters.value(what.metric, *labels), **fields}
        if what.always:
            self._log.log(what.level, what.message, extra=said)
        else:
            self._limited_log.say(what.level, what.message, labels, **said)
