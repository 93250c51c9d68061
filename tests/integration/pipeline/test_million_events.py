"""Everything that goes in comes out: on real Kafka and Redis, counted one by one."""

import os
import time

import pytest

from bench.events import make
from tests.support.daemon_process import ALL_TOPICS, DEAD_LETTER, INPUT, DaemonProcess
from tests.support.feed import feed
from tests.support.kafka_node import KafkaNode
from tests.support.redis_node import RedisNode
from tests.support.verify import read_topics, redis_problems
from tests.support.wait import wait_until

pytestmark = [pytest.mark.real, pytest.mark.valkey, pytest.mark.slow, pytest.mark.timeout(1500)]
EVENTS = int(os.environ.get("INGESTD_TEST_EVENTS", "100000"))


def test_every_event_is_accounted_for_in_topics_redis_and_books(own_kafka: KafkaNode, redis_node: RedisNode, tmp_path):
    own_kafka.create_topics(ALL_TOPICS)
    feed(own_kafka.bootstrap, 0, EVENTS)
    started_s = time.monotonic()
    daemon = DaemonProcess(tmp_path / "daemon", own_kafka.bootstrap, redis_node.url).start()
    try:
        wait_until(lambda: daemon.column("received") >= EVENTS and daemon.column("in_flight") == 0, "all is done", 900)
        rss_mib = daemon.rss_bytes() >> 20
        assert daemon.stop() == 0, daemon.log_tail()
    finally:
        daemon.kill()
    state = daemon.state()
    assert state["balanced"]
    assert state["books"][INPUT] == {
        "received": EVENTS,
        "delivered": EVENTS,
        "dropped": 0,
        "dead_lettered": 0,
        "abandoned": 0,
        "in_flight": 0,
    }
    assert own_kafka.committed("ingestd", INPUT) == own_kafka.ends(INPUT)
    assert sum(own_kafka.ends(DEAD_LETTER).values()) == 0
    copies = read_topics(own_kafka.bootstrap)
    assert len(copies.by_id) == EVENTS and set(copies.by_id.values()) == {1}
    events = [make(index) for index in range(EVENTS)]
    assert {made.id for made in events} == set(copies.by_id)
    assert redis_problems(redis_node.client(), events, time.monotonic() - started_s) == []
    print(f"{EVENTS:,} events; RSS {rss_mib} MiB; Redis keys {redis_node.client().dbsize():,}")
