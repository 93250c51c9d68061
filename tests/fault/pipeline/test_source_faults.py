"""The cluster answers the source with errors, or sends it away. Nothing is skipped, and nothing stands still unseen."""

import asyncio
import os
import select
from collections.abc import Iterator

import pytest
import uvloop

from ingestd._librdkafka import Consumer, MockCluster
from tests.support.daemon_process import INPUT
from tests.support.harness import Harness, event, make_config, mock_cluster, publish, settled, until
from tests.support.redis_node import RedisNode

FETCH, LIST_OFFSETS, OFFSET_COMMIT, HEARTBEAT = 1, 2, 8, 12  # the Kafka protocol's numbers of the requests
OFFSET_OUT_OF_RANGE, NOT_LEADER_FOR_PARTITION, GROUP_AUTHORIZATION_FAILED, FENCED_INSTANCE_ID = 1, 6, 30, 82


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    made = mock_cluster()
    yield made
    made.close()


def run(work) -> None:
    uvloop.run(asyncio.wait_for(work, 90))


def test_an_error_in_the_answer_to_where_a_log_begins_skips_nothing(cluster: MockCluster, redis_node: RedisNode):
    async def work() -> None:
        publish(cluster, [event(f"e{n}") for n in range(10)])
        cluster.push_errors(LIST_OFFSETS, [NOT_LEADER_FOR_PARTITION])
        harness = Harness(make_config(cluster, redis_node.url))
        async with harness as app:
            await until(lambda: app.books.account(INPUT).delivered == 10, "all are delivered")
        assert harness.code == 0

    run(work())


def test_a_partition_that_is_read_again_goes_on_every_time(cluster: MockCluster, redis_node: RedisNode):
    async def work() -> None:
        harness = Harness(make_config(cluster, redis_node.url))
        async with harness as app:
            await settled(app)
            publish(cluster, [event(f"e{n}") for n in range(10)])
            await until(lambda: app.source.committed[INPUT, 0] == 10, "all are committed")
            for times in range(1, 6):
                redis_node.freeze()  # so that nothing is committed but the start
                cluster.push_errors(FETCH, [OFFSET_OUT_OF_RANGE])
                await until(lambda: app.source.committed[INPUT, 0] == 0, "the start is committed")
                redis_node.thaw()
                await until(lambda n=times: app.books.account(INPUT).delivered == 10 * (n + 1), "they came again")
                await until(lambda: app.source.committed[INPUT, 0] == 10, "all are committed")
            assert app.books.balances()
        assert harness.code == 0

    run(work())


def test_a_static_member_that_is_fenced_ends_the_daemon_with_a_line_that_says_so(
    cluster: MockCluster, redis_node: RedisNode
):
    async def work() -> None:
        kafka = {"group_instance_id": "twin", "consumer_options": {"heartbeat.interval.ms": "100"}}
        harness = Harness(make_config(cluster, redis_node.url, kafka=kafka))
        async with harness as app:
            await settled(app)
            cluster.push_errors(HEARTBEAT, [FENCED_INSTANCE_ID])
            await until(lambda: app.stopping.is_set(), "it ends by itself")
        assert harness.code == 1
        (line,) = [record for record in harness.lines.records if "shut this consumer out" in record.getMessage()]
        assert line.error == "FENCED_INSTANCE_ID"

    run(work())


def test_a_stop_whose_last_commit_fails_says_so_and_ends_with_1(cluster: MockCluster, redis_node: RedisNode):
    async def work() -> None:
        harness = Harness(make_config(cluster, redis_node.url, pipeline={"commit_interval_ms": 60_000}))
        async with harness as app:
            await settled(app)
            publish(cluster, [event(f"e{n}") for n in range(10)])
            await until(lambda: app.books.account(INPUT).delivered == 10, "all are delivered")
            cluster.push_errors(OFFSET_COMMIT, [GROUP_AUTHORIZATION_FAILED] * 10)
        last = harness.lines.records[-1]
        assert (harness.code, last.commit_error) == (1, "GROUP_AUTHORIZATION_FAILED")
        assert last.drained and last.left_group

    run(work())


def test_log_lines_alone_wake_the_consumer():
    consumer = Consumer({"group.id": "g", "debug": "cgrp"})  # no broker: nothing but lines can come
    try:
        assert select.select([consumer.main_fd], [], [], 20)[0], "a line came"
        assert {notice.kind for notice in consumer.poll_main()} == {"log"}
    finally:
        consumer.destroy()


def test_statistics_that_a_user_asks_for_end_nothing():
    consumer = Consumer(
        {"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "statistics.interval.ms": "10", "log_level": "0"}
    )
    try:
        consumer.poll_main()  # what came before its descriptor was there wakes nobody
        for _ in range(3):
            assert select.select([consumer.main_fd], [], [], 20)[0], "statistics came"
            os.eventfd_read(consumer.main_fd)
            consumer.poll_main()
    finally:
        consumer.destroy()
