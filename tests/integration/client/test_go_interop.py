"""A Go program with the plain struct on the same topics, with real Kafka, Redis and daemon. In: events of both sides.

Out: what the other side read, byte for byte where encoding/json and this library write alike.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingestd.client import Consumer, Event, EventStore, EventType, Level, Producer
from tests.support.daemon_process import ALL_TOPICS, INPUT, TYPED, DaemonProcess
from tests.support.kafka_node import ROOT, KafkaNode
from tests.support.redis_node import RedisNode
from tests.support.wait import MULTIPLIER, wait_until

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(shutil.which("go") is None, reason="go lane: go is not there: apt-get install golang"),
]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FIELDS = ("id", "type", "level", "service", "component", "message", "timestamp")
RUN_DEADLINE_S = 90


@pytest.fixture(scope="module")
def interop() -> Path:
    """The Go program, built once; Go keeps what it fetched and built."""
    built = ROOT / ".cache" / "go" / "interop"
    subprocess.run(
        ["go", "build", "-o", str(built), "."], cwd=ROOT / "tests" / "go", check=True, timeout=300 * MULTIPLIER
    )
    return built


class Stack:
    """Kafka, Redis, the daemon, and the Go program."""

    def __init__(self, kafka: KafkaNode, redis: RedisNode, daemon: DaemonProcess, program: Path) -> None:
        self.bootstrap, self.redis_url = kafka.bootstrap, redis.url
        self.daemon, self.program = daemon, program

    def _run(self, *words: str, text: str = "") -> list[str]:
        done = subprocess.run(
            [str(self.program), *words], input=text, capture_output=True, text=True, timeout=RUN_DEADLINE_S * MULTIPLIER
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def go_reads(self, topic: str, count: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._run("read", self.bootstrap, topic, str(count))]

    def go_writes(self, events: list[dict[str, Any]]) -> list[bytes]:
        lines = "".join(f"{json.dumps(event)}\n" for event in events)
        return [line.encode() for line in self._run("write", self.bootstrap, INPUT, text=lines)]

    def wait_delivered(self, count: int) -> None:
        wait_until(lambda: self.daemon.column("delivered") >= count, f"{count} events are delivered", 60)


@pytest.fixture
def stack(own_kafka: KafkaNode, redis_node: RedisNode, interop: Path, tmp_path: Path) -> Iterator[Stack]:
    own_kafka.create_topics(ALL_TOPICS, 2)
    # Its own health events are of the same type as some of ours: they are out of the way.
    daemon = DaemonProcess(tmp_path / "daemon", own_kafka.bootstrap, redis_node.url, health={"interval_s": 3600})
    daemon.start()
    try:
        daemon.wait_joined()
        yield Stack(own_kafka, redis_node, daemon, interop)
    finally:
        daemon.kill()


def test_a_go_program_reads_what_this_library_writes(stack: Stack) -> None:
    with Producer(stack.bootstrap, INPUT, "shop") as producer:
        ids = {"correlation_id": "order-7", "trace_id": TRACE}
        sent = [
            producer.publish_log(
                "WARN", "api", "ünï <&> 服务\u2028 \"quoted\"", {"env": "prod"}, {"n": 1, "x": [1.5, None]}, **ids
            ),
            producer.publish_metric("api", "latency", 12.5, **ids),
            producer.publish_alert("a-1", "CardRefused", "refusals above normal", "critical", **ids),
            producer.publish_trace(TRACE, SPAN, "charge card", 0.25, parent_span_id="1" * 16, correlation_id="order-7"),
            producer.publish_health("database", "degraded", {"latency_ms": 900}),
            producer.publish_error("api", ValueError("no such card"), **ids),
            producer.publish_event(Event(
                id="", type=EventType.LOG, level=Level.DEBUG, service="", component="own", message="", timestamp="",
            )),
        ]  # fmt: skip
        published = {future.event_id: future for future in sent}
    read = stack.go_reads(INPUT, len(sent))
    assert {row["event"]["id"] for row in read} == set(published)
    for row in read:
        written, again = json.loads(row["value"]), json.loads(row["again"])
        assert again == written, "the struct keeps every field"
        assert list(written)[: len(FIELDS)] == list(FIELDS), "the order is the struct's"
        assert {"event_type", "event_level", "service"} <= set(row["headers"])
        assert row["headers"]["event_level"] == written["level"] == written["level"].lower()
        assert row["headers"].get("correlation_id") == written.get("correlation_id")
    by_type = {(row["event"]["type"], row["event"]["component"]): row["event"] for row in read}
    assert by_type["metric", "api"]["data"] == {"metric_name": "latency", "value": 12.5}
    assert by_type["metric", "api"]["message"] == "Metric: latency = 12.5"
    assert by_type["alert", "alerting"]["data"] == {"alert_id": "a-1", "alert_name": "CardRefused"}
    assert by_type["trace", "tracing"]["data"] == {"operation": "charge card", "duration_ms": 250}
    assert by_type["health", "database"]["level"] == "warning"

    # What the daemon has routed is the same, byte for byte.
    stack.wait_delivered(len(sent))
    routed = stack.go_reads("observability.traces", 1)[0]
    assert routed["value"] in {row["value"] for row in read} and routed["key"] == TRACE


def go_events() -> list[dict[str, Any]]:
    """As a Go program makes them: also as older ones do, with the correlation id in the metadata or the labels."""
    common = {"service": "legacy", "component": "go", "timestamp": "2026-11-24T09:12:01.123456789Z"}
    made: list[dict[str, Any]] = [
        {"id": "go-1", "type": "log", "level": "info", "message": "ünï 服务", "correlation_id": "go-order"},
        {"id": "go-2", "type": "log", "level": "error", "message": "old", "metadata": {"correlation_id": "go-order"}},
        {"id": "go-3", "type": "alert", "level": "fatal", "message": "old", "labels": {"correlation_id": "go-order"}},
        {"id": "go-4", "type": "metric", "level": "info", "message": "Metric: a = 1", "data": {"metric_name": "a"}},
        {"id": "go-5", "type": "trace", "level": "info", "message": "Trace: work", "trace_id": TRACE, "span_id": SPAN,
         "data": {"duration_ms": 40, "operation": "work"}, "timestamp": "2026-11-24T10:12:01.5+01:00"},
        {"id": "go-6", "type": "health", "level": "warning", "message": "", "timestamp": "0001-01-01T00:00:00Z"},
    ]  # fmt: skip
    return [common | event for event in made]


def test_this_library_and_the_daemon_read_what_a_go_program_writes(stack: Stack) -> None:
    events = go_events()
    written = stack.go_writes(events)
    stack.wait_delivered(len(events))

    read: list[Event] = []
    with Consumer(stack.bootstrap, list(TYPED), "interop", idle_stop_s=10.0 * MULTIPLIER) as consumer:
        for event in consumer:
            if event.service == "legacy":
                read.append(event)
            if len(read) == len(events):
                break
    assert {event.id for event in read} == {event["id"] for event in events}
    by_id = {json.loads(value)["id"]: value for value in written}
    for event in read:
        # The consumer puts a correlation id into its field, wherever it stood.
        assert event.correlation_id == ("go-order" if event.id in ("go-1", "go-2", "go-3") else None)
        if event.id not in ("go-2", "go-3"):
            assert event.to_json() == by_id[event.id], "the same bytes come out again"

    with EventStore(stack.redis_url) as store:
        assert [event.id for event in store.correlated("go-order")] == ["go-1", "go-2", "go-3"]
        for ident, value in by_id.items():
            found = store.get(ident)
            assert found is not None and found.to_json() == value
        tree = store.trace(TRACE)
        assert tree.spans[0].operation == "work" and tree.duration_ns == 40_000_000
    words = [sys.executable, "-m", "ingestd", "events", "trace", TRACE, "--redis", stack.redis_url]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60 * MULTIPLIER)
    assert done.returncode == 0 and "legacy work" in done.stdout, done.stderr
