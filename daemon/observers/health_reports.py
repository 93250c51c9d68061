"""Health reports: looks at the components, judges each, and sends health events for them, with lag that is true.

Seconds behind count from the time of the first unfinished record of a partition. Where that was taken, the ledger knows
its time; where not, `RecordTimes` reads it, aside and once a place. Until the answer is there the partition counts as
behind since it was first seen so. The events belong to no batch: they are not indexed, and not in the books.
"""

import asyncio
import logging
import time
from typing import Any, NamedTuple

from .._librdkafka import Consumer
from ..config.schema import Config
from ..errors import KafkaFailure
from ..events.vocabulary import EventType
from ..pipeline.ledger import Key
from .components import Components
from .health import HealthReporter, PartitionLag, Status, lag_status, pipeline_status
from .record_times import Place, RecordTimes

# How often changes are looked for between two reports.
LOOK_INTERVAL_S = 0.5
# While nothing is taken no fetch reply has the ends of the logs: the broker is asked this often.
HELD_BACK_INTERVAL_S = 1.0
# A partition that goes on is as old as it was a moment ago, if nobody knows better.
CARRIED_MS_MAX = 2000


class _Seen(NamedTuple):
    """A partition that is behind: where it stood at the last look, and from when its first unfinished record is.

    known_at_ms: when that was last known; -1: never, and `first_ms` is when it was first seen there.
    """

    place: Place
    first_ms: int
    known_at_ms: int

    def carries(self, place: Place, now_ms: int) -> bool:
        known = self.known_at_ms >= 0 and now_ms - self.known_at_ms <= CARRIED_MS_MAX
        return known and self.place.generation == place.generation


class HealthReports:
    """Runs on: the loop. `lag()` is true at any time; high watermarks are asked for where nothing was fetched."""

    def __init__(
        self,
        config: Config,
        reporter: HealthReporter,
        components: Components,
        consumer: Consumer,
        times: RecordTimes,
        log: logging.Logger,
    ) -> None:
        self._config = config
        self._reporter = reporter
        self._source, self._kafka, self._redis = components.source, components.kafka, components.redis
        self._engine, self._ledger, self._books = components.engine, components.ledger, components.books
        self._consumer = consumer
        self._times = times
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._high: dict[Key, int] = {}
        self._behind: dict[Key, _Seen] = {}
        self._window: list[tuple[float, int, int]] = []  # (time, received, dead-lettered)
        self.statuses: dict[str, Status] = {}

    def swap(self, config: Config, reporter: HealthReporter) -> None:
        """Another interval, other warning limits, from the next look on."""
        self._config, self._reporter = config, reporter

    async def run(self) -> None:
        asking: asyncio.Task[None] | None = None
        try:
            while True:
                due_s = self._loop.time() + self._config.health.interval_s
                await self._refresh_watermarks()
                asked_s = self._loop.time()
                # The first is also what makes Kafka count as answering, and /ready true, where nothing comes in.
                self._report(all_of_them=True)
                while self._loop.time() < due_s:
                    await asyncio.sleep(min(LOOK_INTERVAL_S, max(0.0, due_s - self._loop.time())))
                    stale = self._engine.holding_back and self._loop.time() - asked_s >= HELD_BACK_INTERVAL_S
                    if stale and (asking is None or asking.done()):
                        asked_s = self._loop.time()
                        asking = asyncio.ensure_future(self._refresh_watermarks())
                    self._report(all_of_them=False)
        finally:
            if asking is not None:
                asking.cancel()

    async def _refresh_watermarks(self) -> None:
        """The ends of the logs.

        Non-obvious: a cached end of a log freezes when nothing is fetched, so one that did not move is asked for.
        Lag from cached ends alone would look fine while all stands still.
        """
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
            self._log.debug("cannot read the high watermarks from the cluster", extra={"error": error.name})

    def lag(self) -> list[PartitionLag]:
        """Of every partition that is owned and of which both ends are known."""
        now_ms = int(time.time() * 1000)
        owned = self._ledger.partitions()
        for no_longer_owned in self._high.keys() - set(owned):
            del self._high[no_longer_owned]
        ends: dict[Key, tuple[int, int]] = {}
        waiting: dict[Key, Place] = {}
        for key in owned:
            _, cached = self._consumer.cached_watermarks(*key)
            high = max(cached, self._high.get(key, -1))
            first = self._ledger.next_offset(*key)
            if high < 0 or first < 0:
                continue
            ends[key] = (first, high)
            if high > first:
                waiting[key] = Place(self._ledger.generation(*key), first)
        self._behind = self._dated(waiting, now_ms)
        result = []
        for key, (first, high) in ends.items():
            seconds = max(0.0, (now_ms - self._behind[key].first_ms) / 1000) if key in waiting else 0.0
            committed = max(0, self._source.committed.get(key, 0))
            result.append(PartitionLag(*key, max(0, high - first), round(seconds, 3), committed, first, high))
        return result

    def _dated(self, waiting: dict[Key, Place], now_ms: int) -> dict[Key, _Seen]:
        """From when the first unfinished record of each is. For what was not taken the log is read, and until that has
        answered it counts from when it was first seen so, or from the record before, if that was a moment ago."""
        taken = {key: self._ledger.first_unfinished_ms(*key) for key in waiting}
        dated = self._times.find({key: place for key, place in waiting.items() if taken[key] < 0})
        seen = {}
        for key, place in waiting.items():
            first_ms = dated.get(key, taken[key])
            before = self._behind.get(key)
            if first_ms >= 0:
                seen[key] = _Seen(place, first_ms, now_ms)
            elif before is not None and (before.place == place or before.carries(place, now_ms)):
                seen[key] = before._replace(place=place)
            else:
                seen[key] = _Seen(place, now_ms, -1)
        return seen

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
