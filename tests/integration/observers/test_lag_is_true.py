"""Lag of three members against Kafka's own tool and against the times of the records, on a real Kafka."""

import json
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.support.daemon_process import ALL_TOPICS, INPUT, DaemonProcess
from tests.support.feed import Feeder
from tests.support.harness import event
from tests.support.kafka_node import KafkaNode
from tests.support.redis_node import RedisNode
from tests.support.wait import wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]
PARTITIONS = 6
BACKLOG = 300  # records a partition
# Little is taken, so that of two partitions of a member one is never touched while Redis is away.
SMALL = {"batch_events_max": 10, "in_flight_events_max": 20, "drain_timeout_ms": 1000, "commit_interval_ms": 200}

Lag = dict[tuple[str, int], dict[str, Any]]


class HealthReader:
    """Reads on in the health topic: lag events as they came, and the last of each instance."""

    def __init__(self, bootstrap: str) -> None:
        self.consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "health-reader", "log_level": 0})
        self.consumer.assign([TopicPartition("observability.health", p, 0) for p in range(PARTITIONS)])
        self.events: list[dict[str, Any]] = []

    def read(self) -> None:
        while messages := self.consumer.consume(1000, 0.5):
            found = [json.loads(message.value()) for message in messages if message.error() is None]
            self.events += [each for each in found if each["component"] == "lag"]

    def last(self, instances: list[str], after_s: float) -> dict[str, dict[str, Any]]:
        """The newest event of each of these instances, made after a time; {} while one of them has none."""
        self.read()
        rows = {each["data"]["instance"]: each for each in sorted(self.events, key=lambda each: each["timestamp"])}
        fresh = {name: rows[name] for name in instances if name in rows and wall_s(rows[name]) > after_s}
        return fresh if len(fresh) == len(instances) else {}


def wall_s(health: dict[str, Any]) -> float:
    return datetime.fromisoformat(health["timestamp"]).timestamp()


def by_partition(events: dict[str, dict[str, Any]]) -> Lag:
    """Partition -> its row, with the time of the event. Fails where two members report the same."""
    found: Lag = {}
    for each in events.values():
        for row in each["data"]["partitions"]:
            key = (row["topic"], row["partition"])
            assert key not in found, f"two members report {key}"
            found[key] = row | {"wall_s": wall_s(each)}
    return found


def publish_backlog(bootstrap: str) -> dict[int, float]:
    """Of each partition the time of its first record, another for each."""
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    now_s = int(time.time())
    firsts_s = {partition: now_s - 1000.0 * (partition + 1) for partition in range(PARTITIONS)}
    for partition, first_s in firsts_s.items():
        for number in range(BACKLOG):
            stamp_ms = int(1000 * (first_s + 3 * number))
            producer.produce(INPUT, event(f"{partition}-{number}"), partition=partition, timestamp=stamp_ms)
    assert producer.flush(30) == 0
    return firsts_s


def command_lag(config: Path) -> dict[str, Any]:
    words = [sys.executable, "-m", "ingestd", "lag", "-c", str(config), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def late(rows: Lag, firsts_s: dict[int, float]) -> dict[int, float]:
    """By how much the seconds of each partition are wrong, where they are by more than one."""
    errors = {p: rows[INPUT, p]["seconds"] - (rows[INPUT, p]["wall_s"] - first_s) for p, first_s in firsts_s.items()}
    return {p: error for p, error in errors.items() if abs(error) > 1}


def test_lag_is_what_kafka_says_and_as_old_as_the_records(own_kafka: KafkaNode, redis_node: RedisNode, tmp_path: Path):
    own_kafka.create_topics(ALL_TOPICS, PARTITIONS)
    members = []
    for number in range(3):
        daemon = DaemonProcess(tmp_path / f"m{number}", own_kafka.bootstrap, redis_node.url, pipeline=SMALL)
        daemon.environment = {"INSTANCE": str(number)}
        members.append(daemon)
    reader = HealthReader(own_kafka.bootstrap)
    feeder = Feeder(own_kafka.bootstrap, 1000, PARTITIONS)
    try:
        for member in members:
            member.start()
        for member in members:
            member.wait_joined()
        feeder.start()
        wait_until(lambda: all(member.column("delivered") > 300 for member in members), "all are at work", 90)
        feeder.stop()
        wait_until(lambda: own_kafka.committed("ingestd", INPUT) == own_kafka.ends(INPUT), "all is committed", 90)

        # The group is still, and nothing is behind.
        still = check(own_kafka, reader, members[0].config_path, ["0", "1", "2"], 0)
        assert all(row["records"] == 0 and row["seconds"] == 0 for row in still.values())

        # Redis is away: what is behind is taken in part or not at all.
        redis_node.stop()
        firsts_s = publish_backlog(own_kafka.bootstrap)
        behind = check(own_kafka, reader, members[0].config_path, ["0", "1", "2"], PARTITIONS * BACKLOG)
        assert late(behind, firsts_s) == {}, "seconds are not those of the records"

        # A member goes, and its partitions go to the others.
        assert members[2].stop() == 1, "it could not drain"
        moved = check(own_kafka, reader, members[0].config_path, ["0", "1"], PARTITIONS * BACKLOG)
        assert late(moved, firsts_s) == {}, "seconds are not those of the records"
    finally:
        feeder._stopping.set()
        for member in members:
            member.kill()
    reader.read()
    rows = [row for each in reader.events for row in each["data"]["partitions"]]
    numbers = [value for row in rows for value in row.values() if not isinstance(value, str)]
    assert numbers and min(numbers) >= 0, "some figure was below zero"
    reader.consumer.close()


def check(kafka: KafkaNode, reader: HealthReader, config: Path, instances: list[str], records: int) -> Lag:
    """Wait until the members' sum is right, then hold it against Kafka's tool and `ingestd lag`."""
    after_s = time.time()

    def settled() -> Lag | None:
        rows = by_partition(events) if (events := reader.last(instances, after_s)) else {}
        complete = len(rows) == PARTITIONS and sum(row["records"] for row in rows.values()) == records
        return rows if complete else None

    wait_until(settled, f"{len(instances)} members report {records} records", 60)
    # What comes two reports later is no first guess any more.
    after_s = time.time() + 2
    rows = wait_until(settled, "they go on saying so", 60)
    told = kafka.group_lag("ingestd")
    assert {key: row["records"] for key, row in rows.items()} == told
    state = command_lag(config)
    assert {(row["topic"], row["partition"]): row["records"] for row in state["partitions"]} == told
    assert state["records"] == records
    now_s = time.time()
    for row in state["partitions"]:
        ours = rows[row["topic"], row["partition"]]
        since_s = now_s - ours["wall_s"] if records else 0
        assert abs(row["seconds"] - (ours["seconds"] + since_s)) < 10, "the command may have taken a while"
    return rows
