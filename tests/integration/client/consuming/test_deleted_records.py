"""Records that are deleted from Kafka before the client's Consumer read them are counted and said, and reading goes on.

On the mock cluster, which drops the oldest of a partition beyond five MiB; and on real Kafka, where they are deleted.
"""

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Producer, TopicPartition

from ingestd._librdkafka import MockCluster
from ingestd.client.consuming.async_consumer import AsyncConsumer
from ingestd.client.consuming.consumer import Consumer
from ingestd.client.events import Event
from tests.support.harness import committed, event, publish
from tests.support.kafka_node import KafkaNode
from tests.support.wait import MULTIPLIER, wait_until

DELETED = "records were deleted before they were read, reading goes on at the log's start"
SESSION = {"session.timeout.ms": 1000, "heartbeat.interval.ms": 100}
# What was fetched ahead is read whatever happens in Kafka meanwhile: nothing more is while a record waits.
NOTHING_AHEAD = {"queued.min.messages": 1}
PROTOCOLS = [pytest.param({}, id="cooperative"), pytest.param({"partition.assignment.strategy": "range"}, id="eager")]
# The mock cluster does not speak it.
KAFKA_PROTOCOLS = [*PROTOCOLS, pytest.param({"group.protocol": "consumer"}, id="consumer")]
LARGE = "x" * 900_000


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockCluster]:
    made = MockCluster(1)
    yield made
    made.close()


@pytest.fixture
def topic(numbers: Iterator[int]) -> str:
    return f"deleted-{next(numbers)}"


def consumer(bootstrap: str, topic: str, kafka_options: dict | None = None, **options) -> Consumer:
    """Ends by itself when what a test waits for does not come."""
    given = kafka_options or {}
    session = {} if "group.protocol" in given else SESSION  # with it the broker says how long
    quick = {"commit_interval_s": 0.1, "idle_stop_s": 20 * MULTIPLIER, "kafka_options": session | given}
    return Consumer(bootstrap, topic, f"group-{topic}", **(quick | options))


def commit(bootstrap: str, topic: str, offset: int) -> None:
    """As a member that has left."""
    member = KafkaConsumer({"bootstrap.servers": bootstrap, "group.id": f"group-{topic}", "log_level": 0})
    (row,) = member.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    assert row.error is None
    member.close()


def read_until(reader: Consumer, last: str) -> list[str]:
    seen: list[str] = []
    for found in reader:
        seen.append(found.id)
        if found.id == last:
            reader.stop()
    return seen


def said(caplog: pytest.LogCaptureFixture) -> list[tuple]:
    lines = [vars(record) for record in caplog.records if record.message == DELETED]
    assert all(line["levelno"] == logging.WARNING for line in lines)
    fields = ("topic", "partition", "position", "log_start", "missed", "reason")
    return [tuple(line[field] for field in fields) for line in lines]


def deleted(topic: str, position: int, log_start: int) -> tuple:
    return topic, 0, position, log_start, log_start - position, "they were deleted"


# On the mock cluster


@pytest.mark.parametrize("reset", ["earliest", "latest"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_commit_beyond_the_log_goes_on_at_its_start(
    cluster: MockCluster, topic: str, reset: str, protocol: dict, caplog: pytest.LogCaptureFixture
):
    publish(cluster, [event("a"), event("b")], topic)
    commit(cluster.bootstraps, topic, 500)
    with consumer(cluster.bootstraps, topic, protocol, auto_offset_reset=reset) as reader:
        assert read_until(reader, "b") == ["a", "b"]
        assert reader.missed_count == 0
    assert said(caplog) == [(topic, 0, 500, 0, 0, "the topic was recreated or truncated")]
    assert committed(cluster, topic, f"group-{topic}") == 2, "the next member does not begin again"


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_records_that_were_dropped_after_the_commit_are_counted_and_said(
    cluster: MockCluster, topic: str, reset: str, caplog: pytest.LogCaptureFixture
):
    publish(cluster, [event(f"e{number}", message=LARGE) for number in range(12)], topic)
    commit(cluster.bootstraps, topic, 1)
    with consumer(cluster.bootstraps, topic, auto_offset_reset=reset) as reader:
        seen = read_until(reader, "e11")
        assert seen == [f"e{number}" for number in range(12 - len(seen), 12)]
        assert reader.missed_count == 11 - len(seen) > 0
    assert said(caplog) == [deleted(topic, 1, 12 - len(seen))]


def test_the_asyncio_consumer_counts_them_too(cluster: MockCluster, topic: str, caplog: pytest.LogCaptureFixture):
    publish(cluster, [event(f"e{number}", message=LARGE) for number in range(12)], topic)
    commit(cluster.bootstraps, topic, 1)
    seen: list[str] = []

    async def main() -> int:
        async with AsyncConsumer(cluster.bootstraps, topic, f"group-{topic}", kafka_options=SESSION) as reader:
            async for found in reader:
                seen.append(found.id)
                if found.id == "e11":
                    reader.stop()
            return reader.missed_count

    missed_count = asyncio.run(asyncio.wait_for(main(), 60))
    assert missed_count == 11 - len(seen) > 0
    assert said(caplog) == [deleted(topic, 1, 12 - len(seen))]


@pytest.mark.parametrize("reset", ["earliest", "latest"])
@pytest.mark.parametrize("offset", [500, None])
def test_a_cluster_that_does_not_say_where_a_log_begins_is_asked_again(
    cluster: MockCluster, topic: str, offset: int | None, reset: str, caplog: pytest.LogCaptureFixture
):
    list_offsets, timed_out, replica_not_available = 2, 7, 9  # the one is told of the partition, the other raised
    cluster.create_topic(topic, 1)
    publish(cluster, [event("a"), event("b")], topic)
    if offset is not None:
        commit(cluster.bootstraps, topic, offset)
    cluster.push_errors(list_offsets, [timed_out, replica_not_available])
    with consumer(cluster.bootstraps, topic, auto_offset_reset=reset) as reader, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_until, reader, "c")
        wait_until(lambda: committed(cluster, topic, f"group-{topic}") in (0, 2), "the start is found", 20)
        publish(cluster, [event("c")], topic)
        assert reading.result(20) == (["a", "b", "c"] if offset or reset == "earliest" else ["c"])
    # What begins at the start of a log is left to librdkafka, which asks again by itself.
    assert ("cannot determine start offsets" in caplog.messages) == bool(offset or reset == "latest")
    assert len(said(caplog)) == (1 if offset else 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_latest_begins_at_the_end_once_and_never_skips_from_there(cluster: MockCluster, topic: str, protocol: dict):
    publish(cluster, [event("old")], topic)
    with consumer(cluster.bootstraps, topic, protocol, auto_offset_reset="latest", idle_stop_s=0.1) as first:
        assert [found.id for found in first] == []
    publish(cluster, [event("new"), event("end")], topic)  # while nobody reads, and before anything was handled
    with consumer(cluster.bootstraps, topic, protocol, auto_offset_reset="latest") as later:
        assert read_until(later, "end") == ["new", "end"]
        assert later.missed_count == 0


# On real Kafka


def produce(kafka: KafkaNode, topic: str, ids: list[str], partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for ident in ids:
        producer.produce(topic, event(ident), partition=partition)
    assert producer.flush(20) == 0


def delete_before(kafka: KafkaNode, topic: str, offset: int) -> None:
    admin = kafka.admin  # kept: its futures die with it
    for future in admin.delete_records([TopicPartition(topic, 0, offset)]).values():
        future.result(30)


def names(first: int, end: int) -> list[str]:
    return [f"e{number}" for number in range(first, end)]


@pytest.mark.real
@pytest.mark.parametrize("reset", ["earliest", "latest"])
@pytest.mark.parametrize("protocol", KAFKA_PROTOCOLS)
def test_records_deleted_while_nobody_read_are_counted_and_said(
    kafka: KafkaNode, topic: str, reset: str, protocol: dict, caplog: pytest.LogCaptureFixture
):
    kafka.create_topics([topic], 1)
    produce(kafka, topic, names(0, 100))
    commit(kafka.bootstrap, topic, 40)
    delete_before(kafka, topic, 60)
    with consumer(kafka.bootstrap, topic, protocol, auto_offset_reset=reset) as reader:
        assert read_until(reader, "e99") == names(60, 100)
        assert reader.missed_count == 20
    assert said(caplog) == [deleted(topic, 40, 60)]
    assert kafka.committed(f"group-{topic}", topic) == {0: 100}


@pytest.mark.real
def test_when_all_records_are_gone_it_is_said_before_another_comes(
    kafka: KafkaNode, topic: str, caplog: pytest.LogCaptureFixture
):
    kafka.create_topics([topic], 1)
    produce(kafka, topic, names(0, 100))
    commit(kafka.bootstrap, topic, 40)
    delete_before(kafka, topic, 100)
    with consumer(kafka.bootstrap, topic) as reader, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_until, reader, "e100")
        wait_until(lambda: reader.missed_count == 60, "they are counted", 20)
        wait_until(lambda: kafka.committed(f"group-{topic}", topic) == {0: 100}, "no member counts them again", 20)
        produce(kafka, topic, names(100, 101))
        assert reading.result(20) == ["e100"]
    assert said(caplog) == [deleted(topic, 40, 100)]


@pytest.mark.real
@pytest.mark.parametrize("protocol", KAFKA_PROTOCOLS)
def test_records_deleted_under_a_running_consumer_are_counted_and_cost_other_partitions_nothing(
    kafka: KafkaNode, topic: str, protocol: dict, caplog: pytest.LogCaptureFixture
):
    kafka.create_topics([topic], 2)
    produce(kafka, topic, [f"other{number}" for number in range(50)], partition=1)
    produce(kafka, topic, names(0, 50))
    seen: list[str] = []
    holding, go_on = threading.Event(), threading.Event()

    def handle(found: Event) -> None:
        seen.append(found.id)
        if found.id == "e0":
            holding.set()
            assert go_on.wait(30)

    with (
        consumer(kafka.bootstrap, topic, NOTHING_AHEAD | protocol, batch_events_max=1) as reader,
        ThreadPoolExecutor(1) as pool,
    ):
        reading = pool.submit(reader.consume_events, handle)
        assert holding.wait(30)
        produce(kafka, topic, names(50, 100))
        produce(kafka, topic, ["other50"], partition=1)
        delete_before(kafka, topic, 90)
        go_on.set()
        wait_until(lambda: {"e99", "other50"} <= set(seen), "both partitions are read to their ends", 30)
        reader.stop()
        reading.result(20)
        assert reader.missed_count == 40
    assert [each for each in seen if each.startswith("e")] == names(0, 50) + names(90, 100)
    assert [each for each in seen if each.startswith("o")] == [f"other{number}" for number in range(51)]
    assert said(caplog) == [deleted(topic, 50, 90)]
    assert kafka.committed(f"group-{topic}", topic) == {0: 100, 1: 51}
