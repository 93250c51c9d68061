"""A batch is sent partition by partition, and what has one key stays in its order: on the mock cluster, by the edge."""

import json
import random
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from ingestd._fastpath import Batch, IndexCache, process_batch
from ingestd._librdkafka import MockCluster, Producer
from ingestd.pipeline.settings import fault_texts
from tests.support.fastpath import CORRELATION_HEADERS, NOW_S, record, table
from tests.support.wait import wait_until

TOPICS = ["logs", "metrics", "alerts", "traces", "health", "dead"]
PARTITIONS = {name: count for count, name in enumerate(TOPICS, 1)}


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    made = MockCluster()
    for name, partitions in PARTITIONS.items():
        made.create_topic(name, partitions)
    yield made
    made.close()


@pytest.fixture
def producer(cluster: MockCluster) -> Iterator[Producer]:
    options = {"bootstrap.servers": cluster.bootstraps, "linger.ms": "1", "partitioner": "murmur2_random"}
    made = Producer(options, TOPICS, fault_texts(), "here")
    yield made
    made.destroy()


def make_batch(chance: random.Random, number: int, count: int = 600) -> Batch:
    """Events of all types and keys of every length up to 20, some bad ones; each tells its place in the batch."""
    rows = []
    for place in range(count):
        trace = "".join(chance.choices("abcdefg", k=chance.randrange(20)))
        fields = {"id": f"{number}-{place}", "level": "info", "trace_id": trace, "data": place}
        kind = chance.choice(("log", "metric", "alert", "trace", "health", "unknown"))
        rows.append(record(json.dumps(fields | {"type": kind}).encode(), offset=place))
    batch = Batch(count)
    batch.load(rows, CORRELATION_HEADERS)
    process_batch(batch, table(), IndexCache(1024), NOW_S)
    return batch


def deliver(producer: Producer, batch: Batch) -> None:
    assert producer.send_many(batch)

    def reported() -> bool:
        producer.serve()
        return batch.sends_pending == 0

    wait_until(reported, "all sends are reported", 30)
    assert batch.sends_failed == 0


def partitions_of_records(cluster: MockCluster, count: int) -> dict[str, tuple[str, int, int]]:
    """Event id -> (topic, partition, offset), read back."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstraps, "group.id": "check"})
    consumer.assign([TopicPartition(name, p, 0) for name, many in PARTITIONS.items() for p in range(many)])
    found: dict[str, tuple[str, int, int]] = {}

    def read() -> bool:
        for message in consumer.consume(500, 0.2):
            assert message.error() is None
            found[json.loads(message.value())["id"]] = (message.topic(), message.partition(), message.offset())
        return len(found) == count

    wait_until(read, "all records are read", 30)
    consumer.close()
    return found


def test_sends_go_partition_by_partition_and_stay_in_their_order(cluster: MockCluster, producer: Producer, seed: int):
    chance = random.Random(seed)
    for _ in range(3):  # until the reports have named every partition
        deliver(producer, make_batch(chance, 0))
    batch = make_batch(chance, 1)
    before = [send[0] for send in batch.sends()]
    deliver(producer, batch)
    sent = [(send[0], TOPICS[send[1]], send[2]) for send in batch.sends()]
    assert before == sorted(before) and sorted(send[0] for send in sent) == before
    found = partitions_of_records(cluster, 1200)
    # Records without a key go where librdkafka likes: all of them stand before the keyed ones of the first partition.
    keyed = [(topic, found[f"1-{place}"][1], place) for place, topic, key in sent if key]
    assert keyed == sorted(keyed, key=lambda row: (TOPICS.index(row[0]), row[1], row[2]))
    assert len({row[:2] for row in keyed}) == sum(list(PARTITIONS.values())[:5])
    for topic, partition in {row[:2] for row in keyed}:
        offsets = [found[f"1-{row[2]}"][2] for row in keyed if row[:2] == (topic, partition)]
        assert offsets == sorted(offsets)


def test_the_first_batch_goes_topic_by_topic_as_no_partition_is_known_yet(producer: Producer, seed: int):
    batch = make_batch(random.Random(seed), 0)
    deliver(producer, batch)
    topics_and_places = [(send[1], send[0]) for send in batch.sends()]
    assert topics_and_places == sorted(topics_and_places)
