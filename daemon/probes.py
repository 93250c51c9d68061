"""The probes. What the rooms say of themselves in; health events to the health topic out (design 6.6)."""

import asyncio
import logging
import time
from typing import Any

from ingestd._librdkafka import Consumer
from ingestd.config import Config
from ingestd.engine import Engine
from ingestd.errors import KafkaFailure
from ingestd.health import HealthReporter, PartitionLag, Status, lag_status, pipeline_status
from ingestd.ledger import Key, Ledger
from ingestd.metrics import Books, Counters
from ingestd.model import EventType
from ingestd.sinks.kafka import KafkaSink
from ingestd.sinks.redis import RedisSink
from ingestd.source import Source

# How often changes are looked for between two reports.
LOOK_INTERVAL_S = 0.5


class Probes:
    """Runs on: the loop. `lag()` is true at any time; high watermarks are asked for where nothing was fetched."""

    def __init__(
        self,
        config: Config,
        reporter: HealthReporter,
        source: Source,
        consumer: Consumer,
        kafka: KafkaSink,
        redis: RedisSink,
        engine: Engine,
        ledger: Ledger,
        books: Books,
        counters: Counters,
        log: logging.Logger,
    ) -> None:
        self._config = config
        self._reporter = reporter
        self._source = source
        self._consumer = consumer
        self._kafka = kafka
        self._redis = redis
        self._engine = engine
        self._ledger = ledger
        self._books = books
        self._counters = counters
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._high: dict[Key, int] = {}
        self._standing: dict[tuple[str, int, int], int] = {}  # partition and position -> when it was first seen there
        self._window: list[tuple[float, int, int]] = []  # (time, received, dead-lettered)
        self.statuses: dict[str, Status] = {}

    def swap(self, config: Config, reporter: HealthReporter) -> None:
        """Another interval, other warning limits, from the next look on."""
        self._config, self._reporter = config, reporter

    async def run(self) -> None:
        while True:
            due_s = self._loop.time() + self._config.health.interval_s
            await self._refresh_watermarks()
            self._report(all_of_them=True)
            while self._loop.time() < due_s:
                await asyncio.sleep(min(LOOK_INTERVAL_S, max(0.0, due_s - self._loop.time())))
                self._report(all_of_them=False)

    async def _refresh_watermarks(self) -> None:
        """Cached watermarks freeze when nothing is fetched, so where they did not move the broker is asked."""
        asked = []
        for key in self._ledger.partitions():
            _, high = self._consumer.cached_watermarks(*key)
            if high >= 0 and high > self._high.get(key, -1):
                self._high[key] = high
            else:
                asked.append((*key, -1))
        if not asked:
            return
        try:
            for row in await self._source.ask_offsets(asked):
                if row.error == 0 and row.offset >= 0:
                    self._high[row.topic, row.partition] = row.offset
        except KafkaFailure as error:
            self._log.debug("the cluster does not tell the ends of the logs", extra={"error": error.name})

    def lag(self) -> list[PartitionLag]:
        """Of every partition that is owned and of which both ends are known."""
        now_ms = int(time.time() * 1000)
        result = []
        standing: dict[tuple[str, int, int], int] = {}
        for key in self._ledger.partitions():
            _, cached = self._consumer.cached_watermarks(*key)
            high = max(cached, self._high.get(key, -1))
            first = self._ledger.next_offset(*key)
            if high < 0 or first < 0:
                continue
            first_ms = self._ledger.first_unfinished_ms(*key)
            behind = max(0, high - first)
            if behind and first_ms < 0:
                # Nothing of it was taken, so its record's time is not known: at least since it was first seen so.
                first_ms = self._standing.setdefault((*key, first), now_ms)
                standing[*key, first] = first_ms
            seconds = max(0.0, (now_ms - first_ms) / 1000) if behind else 0.0
            result.append(
                PartitionLag(*key, behind, round(seconds, 3), max(0, self._source.committed.get(key, 0)), first, high)
            )
        self._standing = standing
        for gone in set(self._high) - set(self._ledger.partitions()):
            del self._high[gone]
        return result

    def _in_window(self) -> tuple[int, int]:
        """(received, dead-lettered) in the flood window."""
        now_s, received, dead_lettered = (
            self._loop.time(),
            self._books.total("received"),
            self._books.total("dead_lettered"),
        )
        self._window.append((now_s, received, dead_lettered))
        while len(self._window) > 1 and self._window[1][0] <= now_s - self._config.pipeline.dead_letter.window_s:
            self._window.pop(0)
        _, received_before, dead_before = self._window[0]
        return received - received_before, dead_lettered - dead_before

    def _observe(self) -> list[tuple[str, Status, dict[str, Any]]]:
        """Every component with its status and its figures, as they are now."""
        lag = self.lag()
        return [
            (
                "kafka.consumer",
                Status.HEALTHY if self._source.joined else Status.DEGRADED,
                {
                    "joined": self._source.joined,
                    "partitions": len(self._ledger.partitions()),
                    "records_missed": self._source.missed,
                },
            ),
            (
                "kafka.producer",
                Status.DEGRADED if self._kafka.refused_count else Status.HEALTHY,
                {
                    "open_batches": self._kafka.open_count,
                    "refused_batches": self._kafka.refused_count,
                    "renewed_after_fatal_errors": self._kafka.was_fatal,
                },
            ),
            (
                "redis",
                Status.HEALTHY if self._redis.connected else Status.UNHEALTHY,
                {
                    "connected": self._redis.connected,
                    "open_batches": self._redis.waiting_count,
                    "identity_changes": self._redis.identity_changes,
                },
            ),
            (
                "pipeline",
                pipeline_status(
                    *self._in_window(),
                    self._config.pipeline.dead_letter,
                    self._books.balances(),
                    self._source.missed,
                ),
                {
                    "in_flight_events": self._engine.in_flight_events,
                    "held_bytes": self._engine.held_bytes,
                    "holding_back": self._engine.holding_back,
                    "books": self._books.as_dict(),
                },
            ),
            (
                "lag",
                lag_status(lag, self._config.health),
                {"records": sum(row.records for row in lag), "partitions": [row.as_dict() for row in lag]},
            ),
        ]

    def _report(self, *, all_of_them: bool) -> None:
        """Send what is due: everything, or what changed. A change is logged too."""
        for component, status, figures in self._observe():
            changed = self.statuses.get(component) is not status
            if changed:
                before, self.statuses[component] = self.statuses.get(component), status
                if before is not None:
                    self._log.log(
                        logging.INFO if status is Status.HEALTHY else logging.WARNING,
                        "health changed",
                        extra={"component": component, "status": status.value},
                    )
            if all_of_them or changed:
                event = self._reporter.event(component, status, figures, time.time())
                self._kafka.send_own(EventType.HEALTH, event)
