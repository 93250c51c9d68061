"""Both sinks stand, on the mock cluster: what is held stays within pipeline.memory_limit_mib, and then all is done."""

import asyncio

import pytest
import uvloop
from confluent_kafka import Producer

from ingestd._librdkafka import MockCluster
from ingestd.config import kafka_consumers
from ingestd.pipeline.engine import Engine
from tests.support.daemon_process import INPUT
from tests.support.harness import QUICK_GROUP, Harness, event, make_config, mock_cluster, until
from tests.support.redis_node import RedisNode

PARTITIONS, PARTITION_BYTES = 4, 4_000_000  # a partition of the mock cluster holds 5 MiB
PRODUCE, NOT_ENOUGH_REPLICAS = 0, 19
MIB = 1 << 20


def fill(cluster: MockCluster, event_bytes: int) -> int:
    """Events in every partition; gives their number."""
    producer = Producer({"bootstrap.servers": cluster.bootstraps, "log_level": 0})
    count = PARTITION_BYTES // event_bytes
    for partition in range(PARTITIONS):
        for number in range(count):
            payload = event(f"{partition}-{number}", message="m" * (event_bytes - 100))
            producer.produce(INPUT, payload, partition=partition)
        producer.poll(0)
    assert producer.flush(20) == 0
    return PARTITIONS * count


@pytest.mark.parametrize("event_bytes", [2000, 20_000])
def test_with_both_sinks_stalled_what_is_held_stays_within_the_limit(
    redis_node: RedisNode, monkeypatch: pytest.MonkeyPatch, event_bytes: int
):
    """Each event is held with two SETs of it, so that what is published is three times the limit and more."""
    cluster = mock_cluster(PARTITIONS)
    count = fill(cluster, event_bytes)
    held: list[int] = []
    start = Engine._start
    monkeypatch.setattr(Engine, "_start", lambda self, batch: (start(self, batch), held.append(self.held_bytes)))

    async def work() -> None:
        config = make_config(
            cluster,
            redis_node.url,
            kafka={"consumer_options": QUICK_GROUP},
            pipeline={"memory_limit_mib": 32},
            redis={"reply_timeout_ms": 60_000},
        )
        limit_bytes = kafka_consumers.held_bytes_max(config)
        assert 3 * PARTITIONS * PARTITION_BYTES > 2 * limit_bytes
        harness = Harness(config)
        async with harness as app:
            app.engine.hold()
            await until(lambda: app.redis.connected and app.kafka.queue_length == 0, "both sinks are well")
            redis_node.freeze()
            cluster.push_errors(PRODUCE, [NOT_ENOUGH_REPLICAS] * 64)
            app.engine.resume()
            await until(lambda: app.engine.holding_back, "it holds back")
            taken = app.books.account(INPUT).received
            assert 0 < taken < count and app.books.account(INPUT).in_flight == taken
            # The last batch was sized by the one before it, and a buffer grows by doubling.
            assert max(held) <= 1.1 * limit_bytes
            before, batches, tries = app.engine.held_bytes, len(held), 0

            def pump() -> None:
                nonlocal tries
                tries += 1
                app.engine.pump()

            monkeypatch.setattr(app.source, "_pump", pump)
            await until(lambda: tries >= 3, "the source tries again")
            assert (app.engine.held_bytes, len(held)) == (before, batches), "and goes on holding back"
            cluster.clear_errors(PRODUCE)
            redis_node.thaw()
            await until(lambda: app.books.account(INPUT).delivered == count, "all are delivered")
            assert max(held) <= 1.1 * limit_bytes and app.engine.held_bytes == 0
        assert harness.code == 0

    try:
        uvloop.run(asyncio.wait_for(work(), 90))
    finally:
        redis_node.thaw()
        cluster.close()
