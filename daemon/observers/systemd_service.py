"""The daemon as a systemd service: READY=1, STATUS=, RELOADING=1, and a watchdog that is fed from the work itself.

The watchdog is fed from the work itself (decision 0008): only when the source's tick has turned since the last time,
which serves the group, stores offsets and takes, and when none of librdkafka's threads stands still.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .components import Components
from .health_reports import HealthReports
from .sd_notify import Notifier
from .stalled_threads import Threads

LOOK_INTERVAL_S = 1.0
# Each status is a message to PID 1 and a signal on the bus: seldom, unless something else is awaited.
STATUS_INTERVAL_S = 10.0
# Feeds in a watchdog period, as sd_watchdog_enabled(3) wants two at least.
FEEDS = 3
# A thread may stand this long at least: a resolver that does not answer keeps one for 5 s, twice.
SILENT_S_MIN = 10.0


class SystemdService:
    """Runs on: the loop. Does nothing when systemd did not start the daemon."""

    def __init__(
        self,
        notifier: Notifier,
        threads: Threads,
        components: Components,
        health_reports: HealthReports,
        log: logging.Logger,
    ) -> None:
        self._notifier = notifier
        self._threads = threads
        self._source, self._redis = components.source, components.redis
        self._ledger, self._books = components.ledger, components.books
        self._health_reports = health_reports
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._counted = (self._loop.time(), 0)  # when, and how many events were done by then
        self._rate = 0.0
        self._stopping = False
        self._said: tuple[str, int] | None = None
        self._said_s = self._fed_s = self._loop.time()
        self._stuck = ""

    def ready(self) -> None:
        """The config is loaded, the loop runs, the group was asked. A sink that is down is waited for after that."""
        self._notifier.ready(self._status())

    @asynccontextmanager
    async def reloading(self) -> AsyncIterator[None]:
        self._notifier.reloading("reading the config again")
        try:
            yield
        finally:
            if not self._stopping:
                self._notifier.ready(self._status())

    def stopping(self, limit_s: float) -> None:
        """`limit_s`: the most that the drain and the tear-down may take."""
        self._stopping = True
        self._notifier.stopping(f"stopping: {self._ledger.unfinished():,} events are being finished", limit_s)

    async def run(self) -> None:
        """Until it is cancelled, when all is torn down.

        Non-obvious: systemd 252 goes on watching while a service stops, so the watchdog is fed until the very end.
        """
        if not self._notifier.active:
            return
        feed_interval_s = (self._notifier.watchdog_s or 3600.0) / FEEDS
        while True:
            await asyncio.sleep(min(LOOK_INTERVAL_S, feed_interval_s))
            now_s = self._loop.time()
            if self._notifier.watchdog_s and now_s - self._fed_s >= feed_interval_s - 0.01:
                self._feed(now_s, self._notifier.watchdog_s)
            short = (self._awaited(), len(self._ledger.partitions()))
            if not self._stopping and (short != self._said or now_s - self._said_s >= STATUS_INTERVAL_S):
                self._notifier.status(self._status())
                self._said, self._said_s = short, now_s

    def _feed(self, now_s: float, watchdog_s: float) -> None:
        stuck = self._standing_still(now_s, watchdog_s)
        if not stuck:
            self._notifier.alive()
            self._fed_s = now_s
        elif stuck != self._stuck:
            self._log.error("a part stands still, the watchdog is not fed", extra={"part": stuck})
        self._stuck = stuck

    def _standing_still(self, now_s: float, watchdog_s: float) -> str:
        if self._stopping:
            return ""  # the tick ends and librdkafka's threads do; TimeoutStopSec= bounds that
        silent = self._threads.silent(now_s, max(watchdog_s, SILENT_S_MIN))
        if silent:
            return f"librdkafka's threads {', '.join(silent)}"
        return "" if self._source.ticked_s > self._fed_s else "the source's tick"

    def _awaited(self) -> str:
        absent = ["the consumer group"] if not self._source.joined else []
        absent += ["Redis"] if not self._redis.connected else []
        return f"waiting for {' and '.join(absent)}" if absent else ""

    def _status(self) -> str:
        now_s = self._loop.time()
        done_count = self._books.total("received") - self._books.total("in_flight")
        then_s, then_count = self._counted
        if now_s - then_s >= LOOK_INTERVAL_S:
            self._rate = (done_count - then_count) / (now_s - then_s)
            self._counted = (now_s, done_count)
        awaited = self._awaited()
        if not self._source.joined:
            return awaited
        lag_records = sum(row.records for row in self._health_reports.lag())
        partition_count = len(self._ledger.partitions())
        figures = f"{self._rate:,.0f} events/s, lag {lag_records:,} records, {partition_count} partitions"
        return f"{awaited}; {figures}" if awaited else figures
