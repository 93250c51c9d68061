"""The end of a daemon, on the mock cluster: every librdkafka handle is given back, also when the broker is away."""

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from ingestd._librdkafka import MockCluster, live_handles
from ingestd.app import App
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

PRODUCE, INVALID_TIMESTAMP, OUT_OF_ORDER_SEQUENCE_NUMBER, ALL_BROKERS_DOWN = 0, 32, 45, -187


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    made = mock_cluster()
    yield made
    made.close()


def run(work) -> None:
    uvloop.run(asyncio.wait_for(work, 60))


async def broker_gone(cluster: MockCluster, app: App) -> None:
    """The mock cluster closes its connections later, on its own thread. A last commit that is sent before that is
    neither answered nor given up by librdkafka, and the stop runs into its bounds: another case than those here."""
    codes: set[int] = set()
    on_notice = app.source._on_notice
    app.source._on_notice = lambda notice: (codes.add(notice.code), on_notice(notice))
    cluster.broker_down()
    await until(lambda: ALL_BROKERS_DOWN in codes, "the consumer has lost every connection")


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
            await broker_gone(cluster, app)
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
            cluster,
            redis_node.url,
            kafka={"consumer_options": QUICK_GROUP},
            pipeline={"drain_timeout_ms": 200},
            redis={"reply_timeout_ms": 60_000},  # after it nothing more is taken: all ten are to be there before
        )
        harness = Harness(config)
        async with harness as app:
            await until(lambda: app.source.joined and app.redis.connected, "the daemon is well")
            redis_node.freeze()
            await asyncio.to_thread(publish, cluster, [event(f"e{n}") for n in range(10)])
            await until(lambda: app.books.account(INPUT).in_flight == 10, "all are in flight")
            await broker_gone(cluster, app)
        redis_node.thaw()
        assert harness.code == 1 and live_handles() == before
        assert vars(harness.lines.records[-1])["unfinished_events"] == 10
        assert app.books.account(INPUT).abandoned == 10 and app.books.balances()

    run(work())
