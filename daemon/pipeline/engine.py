"""Moves batches through the pipeline: when to take records, when to hold back, when a batch is done.

A batch is taken, processed, and handed to both sinks; when neither is owed anything it is closed in the ledger and
booked. Everything runs on one thread, the loop's.

Non-obvious: holding back is not taking; partitions are never paused. `pause()` throws the prefetch away: 12.7 messages
were fetched for each one consumed. Records that are not taken stay in the bounded prefetch, and then in Kafka.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from .._fastpath import Batch, ErrorCounts, IndexCache, RouteTable, process_batch
from ..events.old_topics import Converter
from ..events.vocabulary import Fault
from ..telemetry.happenings import DEAD_LETTERED, DROPPED, HELD_BACK
from ..telemetry.loop_phases import COMMIT, POLL, PROCESS
from ..telemetry.metrics import Books
from ..telemetry.runtime import Runtime
from .ledger import Key, Ledger, LedgerRun

OWES_KAFKA = 1
OWES_REDIS = 2
# How long the loop may be kept from delivery reports and replies by taking. One batch is about 3 ms.
PUMP_BUDGET_S = 0.01
# Batches kept for reuse, so that their buffers need no page faults. More would keep a burst's memory for ever.
POOL_MAX = 8
# Open batches beyond those that in_flight_events_max fills: small ones, when little comes in. Each has full arrays.
OPEN_BATCHES_EXTRA = 8
# Less than this is not worth a batch while others are open: the next finished one leaves more capacity.
TAKE_MIN = 64
# `sample` is called so often. Back-pressure is said when it lasts: at full load it comes and goes all the time.
SAMPLE_INTERVAL_S = 0.1
HELD_SAMPLES = 10
# What one event is taken to need before any was seen: 20 KB with its Redis bytes. Taken for small ones, a first batch
# of such events held twice what memory_limit_mib allows; with small ones, only the first batch is a smaller one.
FIRST_EVENT_BYTES = 65_536


class Limits(NamedTuple):
    """From pipeline.*; `held_bytes_max` is its share of memory_limit_mib."""

    batch_events_max: int
    in_flight_events_max: int
    held_bytes_max: int

    @property
    def open_batches_max(self) -> int:
        return self.in_flight_events_max // self.batch_events_max + OPEN_BATCHES_EXTRA


class Taker(Protocol):
    """What the engine needs of the source."""

    def take(self, batch: Batch, records_max: int) -> bool: ...
    def topic(self, index: int) -> str: ...


class Sink(Protocol):
    """What the engine needs of a sink."""

    def submit(self, batch: Batch) -> None: ...


class DeadLetterSink(Sink, Protocol):
    """The Kafka sink, which also takes what another sink refused."""

    def add_dead_letters(self, batch: Batch, record_indexes: list[int]) -> None: ...


class Engine:
    """Runs on: the loop. `connect` gives it its neighbours, which need `kafka_done` and `redis_done` themselves."""

    def __init__(
        self,
        *,
        limits: Limits,
        table: RouteTable,
        cache: IndexCache,
        ledger: Ledger,
        books: Books,
        runtime: Runtime,
        convert: Converter | None = None,
    ) -> None:
        self.limits = limits
        self._convert = convert  # of old topics; None: there are none
        self.table = table
        self._cache = cache
        self._ledger = ledger
        self._books = books
        self._phases = runtime.counters.phases
        self._end_to_end = runtime.counters.histogram("ingestd_end_to_end_seconds")
        self._happenings = runtime.happenings
        self._wall_s = runtime.wall_s
        self._log = runtime.log
        self.errors = ErrorCounts()
        self._loop = asyncio.get_running_loop()
        self._pool: list[Batch] = []
        self._open: dict[int, tuple[Batch, int]] = {}  # batch id -> batch, and the bytes counted for it
        self._next_batch_id = 1
        self._holds = 0
        self._pump_scheduled = False
        self._progress = asyncio.Event()
        self._event_bytes = float(FIRST_EVENT_BYTES)
        self.in_flight_events = 0
        self.held_bytes = 0
        self.holding_back = False  # by its own limits, with records waiting
        self.samples = 0
        self._held_samples = 0  # one after the other, up to now
        self.held_back_samples = {"kafka": 0, "redis": 0}
        self.on_processed: Callable[[Batch], None] | None = None  # for the taps, set while some are open

    def connect(self, *, source: Taker, kafka: DeadLetterSink, redis: Sink) -> None:
        self._source, self._kafka, self._redis = source, kafka, redis

    def swap_table(self, table: RouteTable) -> None:
        """The same rules with other taps, from the next batch on."""
        self.table = table

    def swap(self, limits: Limits, table: RouteTable) -> None:
        """Other limits, rules and times to live, from the next batch on. What is open keeps what it was made with."""
        if limits.batch_events_max != self.limits.batch_events_max:
            self._pool.clear()
        self.limits, self.table = limits, table
        # What it knows of TTLs was set by the old ones.
        self._cache.clear()
        self.schedule()

    # Taking

    def pump(self) -> None:
        """Take what there is, up to the capacity. Called when the data queue wakes, and when a batch was closed."""
        self._pump_scheduled = False
        if self._holds:
            return
        stop_s = self._loop.time() + PUMP_BUDGET_S
        phase_before = self._phases.enter(POLL)
        more = True
        while more:
            records_max = self.capacity()
            self.holding_back = records_max <= 0
            if self.holding_back:
                break
            batch = self._pool.pop() if self._pool else Batch(self.limits.batch_events_max)
            more = self._source.take(batch, records_max)
            if batch.record_count:
                self._start(batch)
            else:
                self._pool.append(batch)
            # When the queue was emptied its eventfd wakes us.
            if more and self._loop.time() >= stop_s:
                self.schedule()
                break
        self._phases.enter(phase_before)

    def schedule(self) -> None:
        """Pump soon, behind what else the loop has to do."""
        if not self._pump_scheduled:
            self._pump_scheduled = True
            self._loop.call_soon(self.pump)

    def capacity(self) -> int:
        """How many records may be taken now."""
        limits = self.limits
        if len(self._open) >= limits.open_batches_max:
            return 0
        records_max = min(limits.batch_events_max, limits.in_flight_events_max - self.in_flight_events)
        records_max = min(records_max, int((limits.held_bytes_max - self.held_bytes) / self._event_bytes))
        if not self._open:
            # Non-obvious: when nothing is open, one record is let in whatever its size.
            # Else an event above the limit would stand for ever.
            return max(1, records_max)
        return records_max if records_max >= min(TAKE_MIN, limits.batch_events_max) else 0

    def _start(self, batch: Batch) -> None:
        batch.batch_id = batch_id = self._next_batch_id
        self._next_batch_id += 1
        self._phases.enter(PROCESS)
        self._open_runs(batch)
        if self._convert is not None:
            self._convert(batch, self._source.topic)
        process_batch(batch, self.table, self._cache, int(self._wall_s()), self.errors)
        if self.on_processed is not None:
            self.on_processed(batch)
        held_bytes = batch.held_bytes
        self._open[batch_id] = (batch, held_bytes)
        self.held_bytes += held_bytes
        self.in_flight_events += batch.record_count
        # Rises at once and falls slowly: the next batch is sized for events as large as the last.
        mean_bytes = held_bytes / batch.record_count
        self._event_bytes = max(mean_bytes, 0.9 * self._event_bytes + 0.1 * mean_bytes)
        batch.owes = OWES_KAFKA | OWES_REDIS
        batch.taken_at_s = self._loop.time()
        self._kafka.submit(batch)
        self._redis.submit(batch)
        self._phases.enter(POLL)

    def _open_runs(self, batch: Batch) -> None:
        topic = self._source.topic
        runs = [
            LedgerRun(
                topic(run.source_topic_index),
                run.partition,
                run.first_offset,
                run.last_offset,
                run.received_count,
                run.leader_epoch,
                run.first_timestamp_ms,
            )
            for run in batch.runs()
        ]
        for run in runs:
            self._books.received(run.topic, run.received_count)
        for run in self._ledger.open(batch.batch_id, runs):
            self._books.ended(run.topic, abandoned=run.received_count)

    # Ends

    def kafka_done(self, batch: Batch) -> None:
        """Every record made from the batch was acknowledged."""
        batch.owes &= ~OWES_KAFKA
        if not batch.owes:
            self._close(batch)

    def redis_done(self, batch: Batch) -> None:
        """Every Redis reply is in; `batch.refused_records` has those that were refused for good."""
        batch.owes &= ~OWES_REDIS
        if not batch.owes:
            self._close(batch)

    def _close(self, batch: Batch) -> None:
        if batch.refused_records:
            refused, batch.refused_records = batch.refused_records, None
            batch.owes = OWES_KAFKA
            batch.taken_at_s = self._loop.time()  # Kafka has had its share: what follows is a hand-over of its own
            self._kafka.add_dead_letters(batch, refused)
            return
        phase_before = self._phases.enter(COMMIT)
        _, held_bytes = self._open.pop(batch.batch_id)
        self.held_bytes -= held_bytes
        self.in_flight_events -= batch.record_count
        self._book(batch)
        batch.release()
        batch.batch_id = 0
        batch.table = None
        if len(self._pool) < POOL_MAX and batch.events_max == self.limits.batch_events_max:
            self._pool.append(batch)
        self._progress.set()
        if self.holding_back:
            self.schedule()
        self._phases.enter(phase_before)

    def _book(self, batch: Batch) -> None:
        runs = batch.runs()
        wall_s = self._wall_s()
        any_dead = False
        for run, live in zip(runs, self._ledger.finish(batch.batch_id), strict=True):
            any_dead = any_dead or run.dead_count > 0
            if live:
                delivered = run.received_count - run.dropped_count - run.dead_count
                self._books.ended(
                    self._source.topic(run.source_topic_index),
                    delivered=delivered,
                    dropped=run.dropped_count,
                    dead_lettered=run.dead_count,
                )
                if run.first_timestamp_ms >= 0:
                    age_s = wall_s - run.first_timestamp_ms / 1000
                    self._end_to_end.observe(max(0.0, age_s), run.received_count)  # clocks of others may be ahead
            if run.dropped_count:
                self._happenings.note(DROPPED, "rule", "true", count=run.dropped_count)
        if any_dead:
            for fault, count in batch.fault_counts().items():
                self._happenings.note(DEAD_LETTERED, Fault(fault).name.lower(), count=count)

    # Standing still

    def hold(self) -> None:
        """Take nothing until as many `resume`s came. For rebalances and the stop."""
        self._holds += 1

    def resume(self) -> None:
        assert self._holds > 0
        self._holds -= 1
        self.schedule()  # the eventfd does not wake for what came meanwhile

    async def drained(self, keys: Iterable[Key] | None, timeout_s: float) -> bool:
        """Wait until these partitions, or all, owe nothing. False when the time is over first."""
        wanted = None if keys is None else list(keys)
        deadline_s = self._loop.time() + timeout_s
        while self._ledger.unfinished(wanted):
            left_s = deadline_s - self._loop.time()
            if left_s <= 0:
                return False
            self._progress.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._progress.wait()
            except TimeoutError:
                pass  # the loop's head decides
        return True

    @property
    def open_batches(self) -> int:
        return len(self._open)

    @property
    def batch_count(self) -> int:
        """Batches taken since the start."""
        return self._next_batch_id - 1

    def sample(self) -> None:
        """Look whether a sink holds it back, and which. Called ten times a second: two looks at the totals give shares.

        A batch that owes only one sink says which is the slower. What owes both says nothing.
        """
        self.samples += 1
        if not self.holding_back:
            if self._held_samples >= HELD_SAMPLES:
                held_s = self._held_samples * SAMPLE_INTERVAL_S
                self._log.info("reading resumed, the sinks have answered", extra={"after_s": held_s})
            self._held_samples = 0
            return
        owed = [batch.owes for batch, _ in self._open.values()]
        sink = "redis" if owed.count(OWES_REDIS) >= owed.count(OWES_KAFKA) else "kafka"
        self.held_back_samples[sink] += 1
        self._held_samples += 1
        if self._held_samples == HELD_SAMPLES:
            self._happenings.note(HELD_BACK, sink, limit=self.held_back_by(), in_flight_events=self.in_flight_events)

    def held_back_by(self) -> str | None:
        """Why nothing is taken: a key of the config, or what the loop waits for. None: it takes what comes."""
        if self._holds:
            return "a rebalance or the stop"
        if not self.holding_back:
            return None
        limits = self.limits
        records_max = limits.in_flight_events_max - self.in_flight_events
        if len(self._open) >= limits.open_batches_max or records_max < min(TAKE_MIN, limits.batch_events_max):
            return "pipeline.in_flight_events_max"
        return "pipeline.memory_limit_mib"

    def release_all(self) -> None:
        """At the end, when no sink reads them any more: let go of every record, as a consumer of which one is held
        can't be destroyed. Nothing is booked or stored."""
        self._pool.clear()
        for batch, _ in self._open.values():
            batch.abandon()
        self._open.clear()
