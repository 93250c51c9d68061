"""The engine with sinks that answer when they are told to: how much it takes, when it goes on, what it books."""

import asyncio
import json
import logging

import pytest

from ingestd._fastpath import Batch, IndexCache, RouteTable
from ingestd.config.schema import Config
from ingestd.pipeline.engine import HELD_SAMPLES, Engine, Limits
from ingestd.pipeline.ledger import Ledger
from ingestd.pipeline.route_table import table_arguments
from ingestd.telemetry.metrics import Books
from tests.support.runtime import runtime_for_tests


class HeldSink:
    """Keeps every batch until `release`."""

    def __init__(self) -> None:
        self.held: list[Batch] = []
        self.dead_lettered: list[list[int]] = []
        self.on_done = lambda batch: None

    def submit(self, batch: Batch) -> None:
        batch.refused_records = None
        self.held.append(batch)

    def add_dead_letters(self, batch: Batch, record_indexes: list[int]) -> None:
        self.dead_lettered.append(record_indexes)
        for index in record_indexes:
            batch.mark_dead(index)
        self.held.append(batch)

    def release(self, count: int | None = None) -> None:
        for _ in range(len(self.held) if count is None else count):
            self.on_done(self.held.pop(0))


class EndlessSource:
    """Records without end in one partition; `taken` is how many went out."""

    def __init__(self, size_bytes: int = 100, records: int = 10**9) -> None:
        self.taken = 0
        self.records = records
        self.size_bytes = size_bytes

    def topic(self, index: int) -> str:
        return "in"

    def take(self, batch: Batch, records_max: int) -> bool:
        count = min(records_max, self.records - self.taken)
        event = {"type": "log", "level": "info", "message": "m" * self.size_bytes}
        batch.load([(json.dumps(event).encode(), 0, "in", 0, 0, self.taken + n, None, False) for n in range(count)])
        self.taken += count
        return count == records_max


class World:
    """An engine, its ledger and books, and two sinks that hold everything."""

    def __init__(self, source: EndlessSource, **limits: int) -> None:
        self.source, self.kafka, self.redis = source, HeldSink(), HeldSink()
        self.ledger, self.books = Ledger(), Books()
        self.ledger.assign("in", 0, 0)
        settings = {"batch_events_max": 100, "in_flight_events_max": 1000, "held_bytes_max": 1 << 30} | limits
        table = RouteTable((), **table_arguments(Config()))
        runtime = runtime_for_tests(logging.getLogger("test"), wall_s=lambda: 0.0)
        self.counters = runtime.counters
        self.engine = Engine(
            limits=Limits(**settings),
            table=table,
            cache=IndexCache(),
            ledger=self.ledger,
            books=self.books,
            runtime=runtime,
        )
        self.kafka.on_done, self.redis.on_done = self.engine.kafka_done, self.engine.redis_done
        self.engine.connect(source=source, kafka=self.kafka, redis=self.redis)

    async def pump(self) -> None:
        self.engine.pump()
        for _ in range(200):
            await asyncio.sleep(0)


def test_it_takes_exactly_in_flight_events_max_when_redis_stands():
    async def work() -> None:
        world = World(EndlessSource())
        await world.pump()
        world.kafka.release()
        await world.pump()
        assert world.source.taken == world.engine.in_flight_events == 1000
        assert world.engine.holding_back
        world.redis.release(1)
        await world.pump()
        assert world.source.taken == 1100, "one batch done, one batch more"
        assert world.books.balances()

    asyncio.run(work())


@pytest.mark.parametrize("slow", ["redis", "kafka"])
def test_back_pressure_that_lasts_is_counted_and_said_with_the_sink_and_so_is_its_end(slow: str, caplog):
    async def work() -> None:
        world = World(EndlessSource())
        await world.pump()
        (world.kafka if slow == "redis" else world.redis).release()
        await world.pump()
        for _ in range(HELD_SAMPLES - 1):
            world.engine.sample()
        assert not caplog.records, "at full load it comes and goes all the time"
        world.engine.sample()
        world.engine.sample()
        assert world.counters.value("ingestd_held_back_total", slow) == 1
        assert [row.sink for row in caplog.records] == [slow]  # type: ignore[attr-defined]
        assert world.engine.held_back_samples[slow] == world.engine.samples == HELD_SAMPLES + 1
        world.source.records = 0
        world.kafka.release()
        world.redis.release()
        await world.pump()
        world.engine.sample()
        assert caplog.messages == [
            "nothing more is taken until a sink has answered",
            "reading resumed, the sinks have answered",
        ]

    with caplog.at_level(logging.INFO, "test"):
        asyncio.run(work())


def test_it_takes_nothing_that_would_pass_the_memory_limit():
    async def work() -> None:
        limit = 2_000_000
        world = World(EndlessSource(size_bytes=5000), held_bytes_max=limit, in_flight_events_max=100_000)
        await world.pump()
        assert 0 < world.engine.held_bytes <= limit * 1.2, "beyond it by less than the first batch's guess"
        taken = world.source.taken
        await world.pump()
        assert world.source.taken == taken

    asyncio.run(work())


def test_one_event_larger_than_the_limit_passes_alone():
    async def work() -> None:
        world = World(EndlessSource(size_bytes=50_000), held_bytes_max=10_000)
        for expected in (1, 2, 3):
            await world.pump()
            assert world.source.taken == expected
            world.kafka.release()
            world.redis.release()

    asyncio.run(work())


def test_an_offset_waits_for_the_slower_sink():
    async def work() -> None:
        world = World(EndlessSource(records=100))
        await world.pump()
        world.kafka.release()
        assert world.ledger.take_storable() == []
        world.redis.release()
        (stored,) = world.ledger.take_storable()
        assert stored.next_offset == 100
        assert world.books.as_dict()["in"]["delivered"] == 100

    asyncio.run(work())


def test_batches_that_finish_out_of_order_store_nothing_before_the_first():
    async def work() -> None:
        world = World(EndlessSource(records=300))
        await world.pump()
        world.kafka.release()
        first, *others = world.redis.held
        world.redis.held = others
        world.redis.release()
        assert world.ledger.take_storable() == []
        world.engine.redis_done(first)
        assert world.ledger.take_storable()[0].next_offset == 300

    asyncio.run(work())


def test_a_record_that_redis_refused_becomes_a_dead_letter_before_its_offset_is_stored():
    async def work() -> None:
        world = World(EndlessSource(records=10))
        await world.pump()
        world.kafka.release()
        world.redis.held[0].refused_records = [3]
        world.redis.release()
        assert world.kafka.dead_lettered == [[3]] and world.ledger.take_storable() == []
        world.kafka.release()
        assert world.ledger.take_storable()[0].next_offset == 10
        account = world.books.as_dict()["in"]
        assert (account["delivered"], account["dead_lettered"]) == (9, 1)

    asyncio.run(work())


def test_what_was_revoked_is_abandoned_and_its_late_results_count_for_nothing():
    async def work() -> None:
        world = World(EndlessSource(records=50))
        await world.pump()
        world.books.ended("in", abandoned=world.ledger.revoke("in", 0))
        world.ledger.assign("in", 0, 0)
        world.kafka.release()
        world.redis.release()
        assert world.ledger.take_storable() == []
        assert world.books.as_dict()["in"] == {
            "received": 50,
            "delivered": 0,
            "dropped": 0,
            "dead_lettered": 0,
            "abandoned": 50,
            "in_flight": 0,
        }

    asyncio.run(work())


def test_while_it_is_held_it_takes_nothing_and_goes_on_after():
    async def work() -> None:
        world = World(EndlessSource(records=50))
        world.engine.hold()
        await world.pump()
        assert world.source.taken == 0
        world.engine.resume()
        await world.pump()
        assert world.source.taken == 50

    asyncio.run(work())


def test_a_drain_ends_with_the_last_result_or_with_its_time():
    async def work() -> None:
        world = World(EndlessSource(records=50))
        await world.pump()
        assert await world.engine.drained(None, 0.05) is False
        waiting = asyncio.create_task(world.engine.drained([("in", 0)], 30))
        await asyncio.sleep(0)
        world.kafka.release()
        world.redis.release()
        assert await waiting is True

    asyncio.run(work())
