"""The end of a daemon, on the mock cluster: every librdkafka handle is given back, also when the broker is away."""

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from ingestd._librdkafka import MockCluster, live_handles
from tests.support.daemon_process import INPUT
from tests.support.harness import (
    QUICK_GROUP,
    Harness,
    event,
    make_config,
    mock_cluster,
    publish,
    publish_held,
    settled,
    until,
)
from tests.support.redis_node import RedisNode

PRODUCE, INVALID_TIMESTAMP, OUT_OF_ORDER_SEQUENCE_NUMBER = 0, 32, 45


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    made = mock_cluster()
    yield made
    made.close()


def run(work) -> None:
    uvloop.run(asyncio.wait_for(work, 60))


def test_a_stop_gives_every_handle_back_those_of_faults_too(cluster: MockCluster, redis_node: RedisNode):
    """A renewed producer and the one that sends single records are handles of their own."""

    async def work() -> None:
        before = live_handles()
        harness = Harness(make_config(cluster, redis_node.url, kafka={"consumer_options": QUICK_GROUP}))
        async with harness as app:
            await settled(app)
            assert live_handles() == before + 2
            payloads = [event(f"e{n}") for n in range(10)]
            await publish_held(app, cluster, payloads, lambda: cluster.push_errors(PRODUCE, [INVALID_TIMESTAMP]))
            await until(lambda: app.books.account(INPUT).in_flight == 0 and app.books.total("received") == 10, "done")
            assert live_handles() == before + 3
            app.kafka._producer.provoke_fatal_error(OUT_OF_ORDER_SEQUENCE_NUMBER, "made by the test")
            await asyncio.to_thread(publish, cluster, [event("one more")])
            await until(lambda: app.books.total("delivered") + app.books.total("dead_lettered") == 11, "done again")
            assert app.kafka.was_fatal == 1
        assert harness.code == 0
        await until(lambda: live_handles() == before, "the renewed one is destroyed too")

    run(work())


def test_a_stop_without_a_broker_gives_every_handle_back_and_says_what_was_not_committed(
    cluster: MockCluster, redis_node: RedisNode
):
    """librdkafka waits for the coordinator as long as a session lasts; then the last commit has failed."""

    async def work() -> None:
        before = live_handles()
        config = make_config(
            cluster, redis_node.url, kafka={"consumer_options": QUICK_GROUP}, pipeline={"commit_interval_ms": 60_000}
        )
        harness = Harness(config)
        await asyncio.to_thread(publish, cluster, [event(f"e{n}") for n in range(10)])
        async with harness as app:
            await until(lambda: app.books.account(INPUT).delivered == 10, "all are delivered")
            cluster.broker_down()
        stopped = vars(harness.lines.records[-1])
        assert stopped["drained"] and stopped["commit_error"] and stopped["torn_down"], stopped
        assert harness.code == 1 and live_handles() == before
        lines = harness.lines.messages()
        assert "the last offsets were not committed: events behind them will be read again" in lines

    run(work())


def test_a_stop_with_a_broker_and_redis_that_are_away_gives_what_is_in_flight_back(
    cluster: MockCluster, redis_node: RedisNode
):
    async def work() -> None:
        before = live_handles()
        config = make_config(
            cluster, redis_node.url, kafka={"consumer_options": QUICK_GROUP}, pipeline={"drain_timeout_ms": 200}
        )
        harness = Harness(config)
        async with harness as app:
            await until(lambda: app.source.joined and app.redis.connected, "the daemon is well")
            redis_node.freeze()
            await asyncio.to_thread(publish, cluster, [event(f"e{n}") for n in range(10)])
            await until(lambda: app.books.account(INPUT).in_flight == 10, "all are in flight")
            cluster.broker_down()
        redis_node.thaw()
        assert harness.code == 1 and live_handles() == before
        assert vars(harness.lines.records[-1])["unfinished_events"] == 10
        assert app.books.account(INPUT).abandoned == 10 and app.books.balances()

    run(work())
