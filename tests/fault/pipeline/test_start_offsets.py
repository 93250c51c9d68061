"""Where a group begins to read, on the mock cluster: nothing is skipped when a leader moves."""

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from ingestd._librdkafka import MockCluster
from ingestd.pipeline import topic_ids
from tests.support.daemon_process import INPUT
from tests.support.harness import QUICK_GROUP, Harness, event, make_config, mock_cluster, publish, until
from tests.support.redis_node import RedisNode

LIST_OFFSETS = 2  # the Kafka protocol's number of the request
NOT_LEADER = 6


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockCluster]:
    # The mock cluster does not answer for topic ids, and a stop waits for a question that is under way.
    monkeypatch.setattr(topic_ids, "TOPIC_ID_TIMEOUT_MS", 100)
    made = mock_cluster()
    yield made
    made.close()


def run(work) -> None:
    uvloop.run(asyncio.wait_for(work, 60))


@pytest.mark.parametrize("committed", [0, 6])
def test_a_leader_that_moves_while_a_start_is_looked_for_costs_no_record(
    cluster: MockCluster, redis_node: RedisNode, committed: int
):
    """The answer's -1 in place of an offset is librdkafka's word for the end of the log."""

    async def work() -> None:
        config = make_config(cluster, redis_node.url, kafka={"consumer_options": QUICK_GROUP})
        publish(cluster, [event(f"e{n}") for n in range(committed)])
        if committed:
            async with Harness(config) as app:
                await until(lambda: app.source.committed.get((INPUT, 0)) == committed, "the first are committed")
        publish(cluster, [event(f"e{n}") for n in range(committed, 10)])
        cluster.push_errors(LIST_OFFSETS, [NOT_LEADER] * 2)
        harness = Harness(config)
        async with harness as app:
            await until(lambda: app.source.committed.get((INPUT, 0)) == 10, "all are committed")
            assert app.books.account(INPUT).delivered == 10 - committed
            assert app.source.missed == 0
        assert harness.code == 0

    run(work())
