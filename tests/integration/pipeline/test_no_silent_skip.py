"""Records that were deleted from Kafka before they were read are said and counted, and reading goes on."""

import pytest
from confluent_kafka import TopicPartition

from tests.support.daemon_process import ALL_TOPICS, INPUT, DaemonProcess
from tests.support.feed import feed
from tests.support.kafka_node import KafkaNode
from tests.support.redis_node import RedisNode
from tests.support.wait import wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300)]
DELETED = "records were deleted before they were read, reading goes on at the log's start"


def work_off(daemon: DaemonProcess, kafka: KafkaNode) -> None:
    daemon.start().wait_joined()
    wait_until(lambda: kafka.committed("ingestd", INPUT) == kafka.ends(INPUT), "all is committed", 60)
    assert daemon.stop() == 0, daemon.log_tail()


def delete_records(kafka: KafkaNode, before: int) -> None:
    admin = kafka.admin
    for future in admin.delete_records([TopicPartition(INPUT, p, before) for p in range(4)]).values():
        future.result(30)


def recreate(kafka: KafkaNode) -> None:
    admin = kafka.admin
    admin.delete_topics([INPUT])[INPUT].result(30)
    wait_until(lambda: INPUT not in kafka.admin.list_topics(timeout=10).topics, "the topic is deleted", 30)
    kafka.create_topics([INPUT])


def test_records_deleted_before_they_were_read_are_counted_and_said(
    own_kafka: KafkaNode, redis_node: RedisNode, tmp_path
):
    own_kafka.create_topics(ALL_TOPICS)
    daemon = DaemonProcess(tmp_path / "daemon", own_kafka.bootstrap, redis_node.url)
    feed(own_kafka.bootstrap, 0, 400)
    work_off(daemon, own_kafka)
    feed(own_kafka.bootstrap, 400, 400)
    delete_records(own_kafka, 150)  # of each partition, 100 were read and 50 more are deleted
    work_off(daemon, own_kafka)
    state = daemon.state()
    assert state["counters"]["ingestd_records_missed_total{source_topic=observability.events}"] == 4 * 50
    assert state["books"][INPUT]["delivered"] == 4 * 50 and state["balanced"]
    assert [line["missed"] for line in daemon.log_lines() if line["message"] == DELETED] == [50] * 4


@pytest.mark.parametrize("count", [40, 4000])
def test_a_topic_recreated_while_the_daemon_is_away_is_read_from_its_start(
    own_kafka: KafkaNode, redis_node: RedisNode, tmp_path, count: int
):
    """The broker drops a group's offsets with the topic, so that the daemon finds none and begins at the start."""
    own_kafka.create_topics(ALL_TOPICS)
    daemon = DaemonProcess(tmp_path / "daemon", own_kafka.bootstrap, redis_node.url)
    feed(own_kafka.bootstrap, 0, 400)
    work_off(daemon, own_kafka)
    recreate(own_kafka)
    feed(own_kafka.bootstrap, 10_000, count)
    work_off(daemon, own_kafka)
    assert daemon.state()["books"][INPUT]["delivered"] == count


@pytest.mark.parametrize("count", [40, 4000])
def test_a_topic_recreated_under_a_running_daemon_is_read_from_its_start(
    own_kafka: KafkaNode, redis_node: RedisNode, tmp_path, count: int
):
    own_kafka.create_topics(ALL_TOPICS)
    daemon = DaemonProcess(
        tmp_path / "daemon",
        own_kafka.bootstrap,
        redis_node.url,
        kafka={"consumer_options": {"topic.metadata.refresh.interval.ms": "1000"}},
    )
    feed(own_kafka.bootstrap, 0, 400)
    client = redis_node.client()
    try:
        daemon.start().wait_joined()
        wait_until(lambda: daemon.column("delivered") == 400, "the old topic is read", 60)
        recreate(own_kafka)
        made = feed(own_kafka.bootstrap, 10_000, count)
        wait_until(
            lambda: all(client.exists(f"events:{each.type}:{each.id}") for each in made), "every record is there", 60
        )
        assert daemon.stop() == 0, daemon.log_tail()
    finally:
        daemon.kill()
    assert daemon.state()["balanced"]


def test_latest_applies_only_to_a_partition_without_a_commit(own_kafka: KafkaNode, redis_node: RedisNode, tmp_path):
    own_kafka.create_topics(ALL_TOPICS)
    feed(own_kafka.bootstrap, 0, 400)
    daemon = DaemonProcess(
        tmp_path / "daemon", own_kafka.bootstrap, redis_node.url, kafka={"auto_offset_reset": "latest"}
    )
    daemon.start().wait_joined()
    wait_until(lambda: own_kafka.committed("ingestd", INPUT) == own_kafka.ends(INPUT), "the start is committed", 30)
    assert daemon.stop() == 0
    assert daemon.state()["books"] == {}
    feed(own_kafka.bootstrap, 400, 40)  # while nobody reads: not skipped, as the start was committed
    work_off(daemon, own_kafka)
    assert daemon.state()["books"][INPUT]["delivered"] == 40
