"""A thousand batches more leave as many objects and as much memory as there were, and every handle goes at the end."""

import asyncio
import gc
import json
import tracemalloc
from collections import Counter

import uvloop

from ingestd._fastpath import Batch
from ingestd._librdkafka import live_handles
from ingestd.pipeline.engine import POOL_MAX
from tests.support.daemon_process import INPUT
from tests.support.harness import QUICK_GROUP, Harness, event, make_config, mock_cluster, publish, until
from tests.support.redis_node import RedisNode
from tests.unit.pipeline.test_engine import World

WARM_UP_BATCHES, BATCHES = 200, 1000
# Of caches and of frames of the loop; what a batch left behind would be a thousand.
SLACK = 100


def objects() -> Counter[str]:
    """Instances by type, of what the collector knows."""
    gc.collect()
    found: Counter[str] = Counter()
    # Not Counter(generator): the first time that asks every mapping class, which keep weak references for the answer.
    for each in gc.get_objects():
        found[type(each).__qualname__] += 1
    return found


def grown(before: Counter[str], after: Counter[str]) -> dict[str, int]:
    return {name: count - before[name] for name, count in after.items() if count - before[name] > SLACK}


class EveryKind:
    """Batches of ten in one partition: good ones, a bad one, one with both IDs, one too long for its key."""

    def __init__(self) -> None:
        self.taken = 0
        self.allowed = 0

    def topic(self, index: int) -> str:
        return "in"

    def take(self, batch: Batch, records_max: int) -> bool:
        if self.taken >= self.allowed:
            return False
        payloads = [
            json.dumps({"id": f"{self.taken}-{n}", "type": kind, "level": "error", "correlation_id": f"c{n}"}).encode()
            for n, kind in enumerate(("log", "metric", "alert", "trace", "health", "log", "log", "log"))
        ]
        payloads += [b"{", event(f"x{self.taken}" * 50, trace_id=f"t{self.taken}", span_id="s")]
        rows = [(p, 0, "in", 0, 0, 10 * self.taken + n, None, False) for n, p in enumerate(payloads)]
        batch.load(rows)
        self.taken += 1
        return True


def test_a_thousand_batches_through_the_engine_leave_nothing_behind() -> None:
    async def work() -> None:
        world = World(EveryKind(), in_flight_events_max=100)  # type: ignore[arg-type]
        done_batches = 0

        async def take(count: int) -> None:
            nonlocal done_batches
            world.source.allowed += count
            while done_batches < world.source.allowed:
                world.engine.pump()
                done_batches += len(world.redis.held)
                world.redis.release()
                world.kafka.release()
                world.ledger.take_storable()
                await asyncio.sleep(0)

        await take(WARM_UP_BATCHES)
        objects_before = objects()
        tracemalloc.start()
        await take(POOL_MAX)  # what was there before is not traced, and is replaced first
        bytes_before, _ = tracemalloc.get_traced_memory()
        await take(BATCHES)
        gc.collect()
        bytes_after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert world.books.account("in").received == 10 * (WARM_UP_BATCHES + POOL_MAX + BATCHES)
        assert world.books.account("in").in_flight == 0 and world.books.balances()
        assert grown(objects_before, objects()) == {}
        assert bytes_after - bytes_before < 32 * BATCHES, "the buffers of batches are traced too"

    asyncio.run(asyncio.wait_for(work(), 60))


def test_a_thousand_batches_through_kafka_and_redis_leave_nothing_behind(redis_node: RedisNode) -> None:
    handles_before = live_handles()
    cluster = mock_cluster()

    async def work() -> None:
        config = make_config(
            cluster,
            redis_node.url,
            kafka={"consumer_options": QUICK_GROUP},
            pipeline={"batch_events_max": 5, "in_flight_events_max": 50},
        )
        harness = Harness(config)
        async with harness as app:

            async def work_off(count: int) -> None:
                whole = app.books.account(INPUT).received + count
                await asyncio.to_thread(publish, cluster, [event(f"{whole}-{n}") for n in range(count)])
                await until(lambda: app.source.committed.get((INPUT, 0)) == whole, "all are committed")

            await work_off(5 * WARM_UP_BATCHES)
            before, first_batch = objects(), app.engine._next_batch_id
            await work_off(5 * BATCHES)
            assert app.engine._next_batch_id - first_batch >= BATCHES
            assert grown(before, objects()) == {}
            assert app.engine.held_bytes == app.engine.in_flight_events == app.engine.open_batches == 0
            assert len(app.engine._pool) <= POOL_MAX and app.kafka.open_count == app.redis.waiting_count == 0
        # A message that is still held would keep the consumer from being destroyed.
        assert harness.code == 0

    try:
        uvloop.run(asyncio.wait_for(work(), 90))
    finally:
        cluster.close()
    assert live_handles() == handles_before
