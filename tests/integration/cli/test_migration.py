"""Old and new topics at once: each message of an old one is one event with the message's own bytes in it."""

import json
import random
import subprocess
import sys
from collections import Counter

import pytest
import uvloop
from confluent_kafka import Consumer, Producer, TopicPartition

from ingestd.events import old_topics
from tests.support.daemon_process import ALL_TOPICS, DEAD_LETTER, INPUT, DaemonProcess
from tests.support.harness import Harness, event, make_config, mock_cluster, publish, read_all, until
from tests.support.kafka_node import KafkaNode
from tests.support.redis_node import RedisNode
from tests.support.wait import wait_until

RAW, PROCESSED = "crypto.raw", "crypto.processed"
LOGS, ALERTS = "observability.logs", "observability.alerts"
OLD = {"topics": {"raw_data": RAW, "processed_data": PROCESSED}}
SERVICE = "realtime-data-pipeline"


def raw(number: int) -> bytes:
    return json.dumps(
        {
            "symbol": f"S{number % 7}",
            "price": number + 0.5,
            "volume": 2,
            "timestamp": 1764000000 + number,
            "source": "x",
        }
    ).encode()


def processed(number: int) -> bytes:
    averages = {f"moving_avg_{span}": number for span in ("5m", "15m", "1h")}
    changes = {"price_change_24h": -0.5, "volume_change_24h": 1}
    times = {"timestamp": "2026-11-24T09:51:28Z", "processed_at": "2026-11-24T09:51:29Z"}
    return json.dumps({"symbol": "A", "price": number, "volume": 1} | averages | changes | times).encode()


def test_each_old_message_is_one_event_in_kafka_and_in_redis_and_a_bad_one_a_dead_letter(redis_node: RedisNode):
    cluster = mock_cluster()
    for topic in (RAW, PROCESSED):
        cluster.create_topic(topic, 1)
    bad = [b"no json", b'{"symbol": 5}', event("an event is no old message")]
    publish(cluster, [*map(raw, range(50)), *bad], RAW, key="S")
    publish(cluster, [processed(number) for number in range(20)], PROCESSED, key="A")
    publish(cluster, [event(f"new-{number}") for number in range(30)], INPUT)
    config = make_config(cluster, redis_node.url, kafka=OLD)
    books = {}

    async def main() -> None:
        harness = Harness(config)
        async with harness as app:
            await until(lambda: app.books.total("received") == 103 and app.books.total("in_flight") == 0, "all is done")
            await until(lambda: app.source.committed.get((RAW, 0)) == 53, "the old topic is committed")
            books.update(app.books.as_dict())
        assert harness.code == 0

    uvloop.run(main())
    assert {topic: account["delivered"] for topic, account in books.items()} == {RAW: 50, PROCESSED: 20, INPUT: 30}
    assert books[RAW]["dead_lettered"] == 3

    logs = {json.loads(m.value())["id"]: m.value() for m in read_all(cluster, LOGS, 80)}
    alerts = {json.loads(m.value())["id"]: m.value() for m in read_all(cluster, ALERTS, 20)}
    assert len(logs) == 80 and len(alerts) == 20
    client = redis_node.client()
    for number in range(50):
        value = logs[f"{RAW}-0-{number}"]
        assert raw(number) in value
        assert client.get(f"events:log:{RAW}-0-{number}") == client.get(f"logs:info:{RAW}-0-{number}") == value
    for number in range(20):
        value = alerts[f"{PROCESSED}-0-{number}"]
        assert processed(number) in value and client.get(f"alert_events:{PROCESSED}-0-{number}") == value
    letters = read_all(cluster, DEAD_LETTER, 3)
    assert sorted(letter.value() for letter in letters) == sorted(bad) and {m.key() for m in letters} == {b"S"}
    assert Counter(dict(m.headers())["__ingestd.errors.class"] for m in letters) == {b"not_json": 1, b"wrong_shape": 2}
    cluster.close()


def records_of(bootstrap: str, topic: str) -> list[bytes]:
    """Every value of a topic up to its ends of now."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "look", "log_level": 0})
    try:
        places = [TopicPartition(topic, p, 0) for p in consumer.list_topics(topic, timeout=10).topics[topic].partitions]
        wanted = sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
        consumer.assign(places)
        found = []
        while len(found) < wanted:
            got = consumer.consume(5000, 10)
            assert got, f"{len(found)} of {wanted} records of {topic}"
            found += [message.value() for message in got]
        return found
    finally:
        consumer.close()


@pytest.mark.real
@pytest.mark.timeout(300)
def test_old_and_new_topics_run_at_once_each_with_its_own_books_across_a_kill(
    kafka: KafkaNode, redis_node: RedisNode, tmp_path, seed: int
):
    names = {name: f"mig.{name}" for name in (*ALL_TOPICS, RAW, PROCESSED)}
    kafka.create_topics(list(names.values()))
    keys = ("observability_events", "logs", "metrics", "alerts", "traces", "health_checks", "dead_letter")
    topics = dict(zip((*keys, "raw_data", "processed_data"), names.values(), strict=True))
    counts = {names[RAW]: 12_000, names[PROCESSED]: 6_000, names[INPUT]: 8_000}
    makers = {names[RAW]: raw, names[PROCESSED]: processed, names[INPUT]: lambda n: event(f"new-{n}")}
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 20, "log_level": 0})
    for topic, count in counts.items():
        for number in range(count):
            producer.produce(topic, makers[topic](number), key=f"S{number % 7}")
            producer.poll(0)
    assert producer.flush(60) == 0
    settings = {
        "kafka": {"topics": topics, "group_id": "migration", "group_instance_id": "one"},
        "pipeline": {"commit_interval_ms": 100, "in_flight_events_max": 2000, "batch_events_max": 500},
    }
    daemon = DaemonProcess(tmp_path / "daemon", kafka.bootstrap, redis_node.url, **settings)
    try:
        daemon.start().wait_joined()
        goal = random.Random(seed).randrange(500, 8_000)
        wait_until(lambda: daemon.column("received") >= goal, f"{goal} were taken", 60)
        daemon.kill()
        daemon.start().wait_joined()
        wait_until(
            lambda: all(kafka.committed("migration", topic) == kafka.ends(topic) for topic in counts), "all is done", 60
        )
        assert daemon.stop() == 0, daemon.log_tail()
    finally:
        daemon.kill()
    state = daemon.state()
    assert state["balanced"] and set(state["books"]) <= set(counts)
    logs = records_of(kafka.bootstrap, names[LOGS])
    alerts = records_of(kafka.bootstrap, names[ALERTS])
    by_id = {json.loads(value)["id"]: value for value in (*logs, *alerts)}
    assert len(by_id) == sum(counts.values()), "events are missing or from nowhere"
    # What the kill doubled has the same bytes, so it is harmless.
    assert {value for value in (*logs, *alerts)} == set(by_id.values())
    for topic, kind in ((names[RAW], old_topics.RAW), (names[PROCESSED], old_topics.PROCESSED)):
        ends = kafka.ends(topic)
        wanted = {f"{topic}-{partition}-{offset}" for partition, end in ends.items() for offset in range(end)}
        assert wanted <= by_id.keys()
        for value in (by_id[ident] for ident in list(wanted)[:200]):
            decoded = json.loads(value)
            assert old_topics.convert(json.dumps(decoded["data"]).encode(), kind, decoded["id"], 0, SERVICE) == value
    client = redis_node.client()
    assert sum(client.exists(f"events:log:{ident}") for ident in list(by_id) if "raw" in ident) == counts[names[RAW]]
    doubled = len(logs) + len(alerts) - len(by_id)
    code, found = compare(daemon.config_path, "--since", "10m", "--until", "0s")
    assert code == 0 and [pair["old"]["count"] for pair in found["pairs"]] == [
        counts[names[RAW]],
        counts[names[PROCESSED]],
    ]
    assert all(pair["equal"] and pair["new"] | {"topic": ""} == pair["old"] | {"topic": ""} for pair in found["pairs"])
    # One that the daemon, which has stopped, did not see.
    producer.produce(names[RAW], raw(1), partition=0, key="S1")
    assert producer.flush(30) == 0
    code, found = compare(daemon.config_path, "--since", "10m", "--until", "0s")
    pair = found["pairs"][0]
    assert code == 1 and pair["missing"] == [f"{names[RAW]}-0-{kafka.ends(names[RAW])[0] - 1}"]
    assert pair["different_keys"] == ["S1"] and pair["missing_count"] == 1 and found["pairs"][1]["equal"]
    code, found = compare(
        daemon.config_path, "--since", "10m", "--until", "0s", "--pair", f"{names[LOGS]}={names[LOGS]}"
    )
    assert code == 0 and found["pairs"][0]["new"]["count"] == len(logs)
    print(f"{len(by_id):,} events of old and new topics, one kill, {doubled} doubled, none missing")


def compare(path, *words: str) -> tuple[int, dict]:
    done = subprocess.run(
        [sys.executable, "-m", "ingestd", "compare", "-c", str(path), "--json", *words],
        capture_output=True,
        text=True,
        timeout=90,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)
