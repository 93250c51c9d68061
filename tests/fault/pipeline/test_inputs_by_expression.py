"""Expressions among the inputs, on the mock cluster: what librdkafka makes of them, and outputs that match them."""

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from ingestd._librdkafka import Consumer, MockCluster, Rebalance
from ingestd.config import kafka_consumers
from ingestd.config.topic_pattern import TopicPattern
from ingestd.errors import ConfigError
from ingestd.pipeline import topic_ids
from tests.support.harness import QUICK_GROUP, Harness, event, make_config, publish, until
from tests.support.redis_node import RedisNode
from tests.support.wait import wait_until

NAMES = ("observability.logs", "observability.alerts", "incoming.a", "incoming.B7", "logs")
PATTERNS = ("^incoming|logs", "^observability[.][[:alpha:]]+s$", "^incoming[.].$", "^\\w+$", "^(logs|incoming[.]B)")


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockCluster]:
    made = MockCluster(1)
    for name in NAMES:
        made.create_topic(name, 1)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def short_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mock cluster does not answer for topic ids, and a stop waits for a question that is under way."""
    monkeypatch.setattr(topic_ids, "TOPIC_ID_TIMEOUT_MS", 100)


def subscribed(cluster: MockCluster, pattern: str) -> set[str]:
    """The topics that a group gets for this pattern."""
    config = make_config(cluster, "redis://127.0.0.1:1", kafka={"group_id": f"group of {pattern}"})
    consumer = Consumer(kafka_consumers.daemon_consumer_options(config, "test"))
    assigned: list[Rebalance] = []
    try:
        consumer.subscribe([pattern])
        wait_until(lambda: assigned.extend(consumer.poll_control()) or assigned, "an assignment", interval_s=0.01)
    finally:
        consumer.destroy()
    return {topic for topic, _ in assigned[0].partitions}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_librdkafka_reads_an_expression_as_the_check_does(cluster: MockCluster, pattern: str) -> None:
    expected = {name for name in NAMES if TopicPattern(pattern).matches(name)}
    assert subscribed(cluster, pattern) == expected and expected


def looping(cluster: MockCluster, node: RedisNode, output: str) -> Harness:
    """An input that matches an output. The check would refuse it; a broker may read expressions otherwise."""
    return Harness(
        make_config(
            cluster,
            node.url,
            kafka={
                "group_id": f"reads {output}",
                "input_topics": ["^incoming[.]"],
                "consumer_options": {"topic.metadata.refresh.interval.ms": "100"} | QUICK_GROUP,
                # The mock cluster makes what a producer asks for.
                "producer_options": {"allow.auto.create.topics": "false"},
            },
            rules=[{"name": "r", "action": "copy", "topics": [output], "match": {"services": ["nobody"]}}],
        )
    )


def check_end(harness: Harness, error: ConfigError) -> None:
    (problem,) = error.problems
    assert problem.path == "kafka.input_topics" and "rules[0].topics" in problem.what
    lines = harness.lines.messages()
    assert "the daemon cannot run with this config" in lines and "an unexpected error stops the daemon" not in lines
    (stopped,) = [vars(line) for line in harness.lines.records if line.getMessage() == "stopped"]
    assert (stopped["drained"], stopped["left_group"], stopped["torn_down"]) == (True, True, True)


def test_an_output_that_appears_later_and_matches_stops_the_daemon_before_anything_goes_round(
    cluster: MockCluster, redis_node: RedisNode
) -> None:
    """`serve` raises the ConfigError; the command line makes 78 of it, after which systemd does not start again."""

    async def work() -> None:
        harness = looping(cluster, redis_node, "incoming.late")
        with pytest.raises(ConfigError) as caught:
            async with harness as app:
                await until(lambda: app.source.joined and app.redis.connected, "the daemon is well")
                await asyncio.to_thread(publish, cluster, [event(f"e{n}") for n in range(20)], "incoming.a")
                await until(lambda: app.books.account("incoming.a").received == 20, "the first are taken")
                cluster.create_topic("incoming.late", 1)
                await asyncio.to_thread(publish, cluster, [event("round")], "incoming.late")
                await until(app.stopping.is_set, "it stops by itself")
        check_end(harness, caught.value)
        assert set(app.books.as_dict()) == {"incoming.a"}, "nothing was taken from the output"
        assert app.books.as_dict()["incoming.a"]["delivered"] == 20 and app.books.balances()

    uvloop.run(asyncio.wait_for(work(), 60))


def test_an_output_that_matches_in_the_first_assignment_stops_the_daemon_in_good_time(
    cluster: MockCluster, redis_node: RedisNode
) -> None:
    """The stop comes while the cluster is still asked where to begin."""

    async def work() -> None:
        harness = looping(cluster, redis_node, "incoming.B7")
        with pytest.raises(ConfigError) as caught:
            async with harness as app:
                await until(app.stopping.is_set, "it stops by itself")
        check_end(harness, caught.value)
        assert app.books.as_dict() == {}

    uvloop.run(asyncio.wait_for(work(), 60))
