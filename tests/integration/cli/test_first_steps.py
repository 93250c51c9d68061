"""The steps of docs/first-steps.md: validate, topics create, run. And every shape of input."""

import json
import subprocess
import sys

import pytest
from confluent_kafka import Producer

from ingestd.events.vocabulary import Fault
from tests.support import shapes
from tests.support.daemon_process import DEAD_LETTER, INPUT, TYPED, DaemonProcess
from tests.support.kafka_node import KafkaNode
from tests.support.redis_node import RedisNode
from tests.support.wait import wait_until

pytestmark = [pytest.mark.real, pytest.mark.valkey, pytest.mark.slow, pytest.mark.timeout(300)]


def ingestd(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "ingestd", *words], capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def test_validate_says_what_is_missing_topics_create_makes_it_and_then_all_is_well(
    own_kafka: KafkaNode, redis_node: RedisNode, tmp_path
):
    config = str(DaemonProcess(tmp_path / "daemon", own_kafka.bootstrap, redis_node.url).config_path)
    code, out = ingestd("validate", "-c", config, "--json")
    problems = json.loads(out)["problems"]
    assert code == 1
    assert {row["what"] for row in problems} == {
        f"the cluster has no topic {topic}, or it may not be seen" for topic in (INPUT, *TYPED, DEAD_LETTER)
    }
    assert {row["mend"] for row in problems} == {"ingestd topics create"}

    code, out = ingestd("topics", "create", "-c", config, "--partitions", "3", "--retention", "12h", "--json")
    assert code == 0
    assert {row["topic"] for row in json.loads(out)["created"]} == {INPUT, *TYPED, DEAD_LETTER}
    code, out = ingestd("topics", "create", "-c", config, "--json")
    assert code == 0 and json.loads(out)["created"] == []
    assert {row["topic"] for row in json.loads(out)["existing"]} == {INPUT, *TYPED, DEAD_LETTER}
    assert len(own_kafka.ends(INPUT)) == 3

    redis_node.client().config_set("maxmemory-policy", "allkeys-lru")
    code, out = ingestd("validate", "-c", config, "--json")
    found = json.loads(out)
    assert (code, found["problems"]) == (0, [])
    assert ["allkeys-lru" in row["what"] for row in found["warnings"]] == [True]


def test_every_shape_of_input_reaches_its_end_and_stops_no_other(own_kafka: KafkaNode, redis_node: RedisNode, tmp_path):
    daemon = DaemonProcess(tmp_path / "daemon", own_kafka.bootstrap, redis_node.url)
    assert ingestd("topics", "create", "-c", str(daemon.config_path))[0] == 0
    tried = [*shapes.good(), *shapes.bad()]
    producer = Producer({"bootstrap.servers": own_kafka.bootstrap, "message.max.bytes": 9_000_000, "log_level": 0})
    for number, shape in enumerate(tried):
        # A good event follows each: it must not wait for what came before.
        producer.produce(INPUT, shape.payload)
        producer.produce(INPUT, json.dumps({"id": f"after-{number}", "type": "log", "level": "info"}).encode())
        producer.poll(0)
    assert producer.flush(60) == 0
    daemon.start()
    try:
        wait_until(
            lambda: daemon.column("received") == 2 * len(tried) and daemon.column("in_flight") == 0, "all is done", 90
        )
        assert daemon.stop() == 0, daemon.log_tail()
    except AssertionError:
        print(daemon.state(), daemon.log_tail())
        raise
    finally:
        daemon.kill()
    # The daemon's limit is the default; the corpus counts sizes by a smaller one of its own.
    limit = 1_048_576
    dead = sum(
        1 for s in tried if s.payload is None or len(s.payload) > limit or s.fault not in (Fault.NONE, Fault.TOO_LARGE)
    )
    account = daemon.state()["books"][INPUT]
    assert account["dead_lettered"] == dead and account["delivered"] == 2 * len(tried) - dead
    assert sum(own_kafka.ends(DEAD_LETTER).values()) == dead
    assert daemon.state()["balanced"]
    client = redis_node.client()
    assert all(client.exists(f"events:log:after-{number}") for number in range(len(tried)))


def test_health_and_lag_events_come_at_their_interval_and_lag_ends_at_zero(
    own_kafka: KafkaNode, redis_node: RedisNode, tmp_path
):
    daemon = DaemonProcess(tmp_path / "daemon", own_kafka.bootstrap, redis_node.url)
    assert ingestd("topics", "create", "-c", str(daemon.config_path), "--partitions", "2")[0] == 0
    daemon.start().wait_joined()
    try:
        wait_until(lambda: len(_health(own_kafka)) >= 25, "five rounds of five events", 60)
        redis_node.stop()
        wait_until(lambda: _last(own_kafka, "redis")["data"]["status"] == "unhealthy", "it says that Redis is away", 30)
        redis_node.start()
        wait_until(lambda: _last(own_kafka, "redis")["data"]["status"] == "healthy", "and that it is back", 30)
        lag = _last(own_kafka, "lag")
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    assert {event["component"] for event in _health(own_kafka)} == {
        "kafka.consumer",
        "kafka.producer",
        "redis",
        "pipeline",
        "lag",
    }
    assert lag["type"] == "health" and lag["level"] == "info" and lag["message"] == "Health check: lag is healthy"
    assert lag["data"]["records"] == 0 and len(lag["data"]["partitions"]) == 2
    assert all(value >= 0 for row in lag["data"]["partitions"] for value in row.values() if not isinstance(value, str))


def _health(kafka: KafkaNode) -> list[dict]:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "health", "log_level": 0})
    try:
        found = []
        for partition, end in kafka.ends("observability.health").items():
            consumer.assign([TopicPartition("observability.health", partition, 0)])
            got = []
            while len(got) < end:
                got += consumer.consume(1000, 2)
            found += [json.loads(message.value()) for message in got]
        return sorted(found, key=lambda event: event["timestamp"])
    finally:
        consumer.close()


def _last(kafka: KafkaNode, component: str) -> dict:
    return [event for event in _health(kafka) if event["component"] == component][-1]
