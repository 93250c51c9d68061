"""The daemon's components in this process, on the mock cluster: for faults that nothing else can make."""

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from ingestd._librdkafka import MockCluster
from ingestd.app import App
from ingestd.cli.demo.mock_cluster import create_topics
from ingestd.config.loading import parse
from ingestd.config.schema import Config
from ingestd.pipeline import topic_ids
from ingestd.telemetry import logs
from tests.support.daemon_process import ALL_TOPICS, merged
from tests.support.wait import MULTIPLIER


class LogLines(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


def mock_cluster(partitions: int = 1) -> MockCluster:
    cluster = MockCluster(1)
    create_topics(cluster, dict.fromkeys(ALL_TOPICS, partitions))
    return cluster


# A group of the mock cluster takes a session time-out less a second to balance again.
QUICK_GROUP = {"session.timeout.ms": "1200", "heartbeat.interval.ms": "200"}


def make_config(cluster: MockCluster, redis_url: str, **overrides: object) -> Config:
    base = {
        "kafka": {"brokers": [cluster.bootstraps], "client_id": "test"},
        "redis": {"url": redis_url},
        "http": {"listen": None},
        "health": {"interval_s": 3600},
        "pipeline": {"commit_interval_ms": 100},
    }
    return parse(json.dumps(merged(base, overrides)))


def publish(cluster: MockCluster, payloads: list[bytes], topic: str = ALL_TOPICS[0], **more: object) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstraps, "log_level": 0, "message.max.bytes": 4_000_000})
    for payload in payloads:
        producer.produce(topic, payload, partition=0, **more)
    assert producer.flush(20) == 0


def read_all(cluster: MockCluster, topic: str, count: int) -> list:
    """`count` records of a topic, with their headers; fails when they do not come in time."""
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstraps,
            "group.id": f"read-{topic}",
            "log_level": 0,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    found: list = []
    try:
        for _ in range(int(40 * MULTIPLIER)):
            found += [m for m in consumer.consume(1000, 0.5) if m.error() is None]
            if len(found) >= count:
                return found
        raise AssertionError(f"{len(found)} of {count} records in {topic}")
    finally:
        consumer.close()


def committed(cluster: MockCluster, topic: str, group: str) -> int | None:
    """What the group has committed of partition 0, without joining it."""
    watcher = Consumer({"bootstrap.servers": cluster.bootstraps, "group.id": group, "log_level": 0})
    try:
        (row,) = watcher.committed([TopicPartition(topic, 0)], timeout=10)
        return row.offset if row.offset >= 0 else None
    finally:
        watcher.close()


async def until(probe: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """Let the loop run until `probe` is true."""
    deadline_s = asyncio.get_running_loop().time() + timeout_s * MULTIPLIER
    while not probe():
        if asyncio.get_running_loop().time() > deadline_s:
            raise AssertionError(f"not within {timeout_s * MULTIPLIER:.0f} s: {what}")
        await asyncio.sleep(0.01)


class Harness:
    """`async with Harness(config) as app:`; on the way out the daemon stops, and `code` is its exit code."""

    def __init__(self, config: Config, books_file: Path | None = None) -> None:
        self.config = config
        self.books_file = books_file
        self.lines = LogLines()
        self.code: int | None = None

    async def __aenter__(self) -> App:
        log = logs.set_up("debug", "json")
        log.handlers[:] = [self.lines]
        # The mock cluster does not answer for topic ids, and a stop waits for the question that is under way.
        topic_ids.TOPIC_ID_TIMEOUT_MS = 100
        self.app = App(self.config, log, self.books_file)
        self._run = asyncio.create_task(self.app.run())
        return self.app

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.app.stopping.set()
        self.code = await asyncio.wait_for(self._run, 60 * MULTIPLIER)


def event(ident: str, **more: object) -> bytes:
    """A small good event."""
    return json.dumps({"id": ident, "type": "log", "level": "info", "correlation_id": "c", **more}).encode()


async def settled(app: App) -> None:
    """Joined, connected, and its own health events acknowledged."""

    def healthy() -> bool:
        statuses = app.health_reports.statuses.values()
        return len(statuses) == 5 and all(status.value == "healthy" for status in statuses)

    await until(lambda: app.source.joined and healthy() and app.kafka.queue_length == 0, "the daemon is well and idle")


def hush(app: App) -> None:
    """No health events from here on: a change is sent at once, and would meet the fault that is meant for records."""
    app.kafka.send_own = lambda *record: True


async def publish_held(app: App, cluster: MockCluster, payloads: list[bytes], prepare: Callable[[], None]) -> None:
    """Publish while the daemon takes nothing, `prepare` the fault, then let it take: so the fault meets the daemon."""
    app.engine.hold()
    await asyncio.to_thread(publish, cluster, payloads)
    prepare()
    app.engine.resume()
