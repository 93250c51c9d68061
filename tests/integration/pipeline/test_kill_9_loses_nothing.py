"""The daemon is killed in mid-flow, again and again. Nothing may be missing; what is doubled was in flight."""

import random
import time

import pytest

from tests.support.daemon_process import ALL_TOPICS, INPUT, DaemonProcess
from tests.support.feed import Feeder
from tests.support.kafka_node import KafkaNode
from tests.support.redis_node import RedisNode
from tests.support.verify import read_topics, redis_problems
from tests.support.wait import wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]
KILLS = 10
RATE = 4000
COMMIT_INTERVAL_MS = 500
IN_FLIGHT_MAX = 10_000


def test_ten_kills_lose_nothing_and_double_no_more_than_was_in_flight(
    own_kafka: KafkaNode, redis_node: RedisNode, tmp_path, seed: int
):
    source = random.Random(seed)
    own_kafka.create_topics(ALL_TOPICS)
    feeder = Feeder(own_kafka.bootstrap, RATE)
    feeder.start()
    started_s = time.monotonic()
    daemon = DaemonProcess(
        tmp_path / "daemon",
        own_kafka.bootstrap,
        redis_node.url,
        kafka={"group_instance_id": "one"},
        pipeline={"commit_interval_ms": COMMIT_INTERVAL_MS, "in_flight_events_max": IN_FLIGHT_MAX},
    )
    try:
        for _ in range(KILLS):
            daemon.start().wait_joined()
            goal = source.randrange(1, 12_000)
            wait_until(lambda goal=goal: daemon.column("received") >= goal, f"{goal} events were taken", 60)
            daemon.kill()
        made = feeder.stop()
        daemon.start().wait_joined()
        wait_until(lambda: own_kafka.committed("ingestd", INPUT) == own_kafka.ends(INPUT), "all is committed", 120)
        assert daemon.stop() == 0, daemon.log_tail()
        assert daemon.state()["balanced"]
    finally:
        feeder._stopping.set()
        daemon.kill()
    copies = read_topics(own_kafka.bootstrap)
    ids = {each.id for each in made}
    assert ids - set(copies.by_id) == set(), "events are missing in the typed topics"
    assert set(copies.by_id) - ids == set(), "events came from nowhere"
    doubled = sum(copies.by_id.values()) - len(copies.by_id)
    # A kill repeats at most what was unfinished, and what was finished but not yet committed.
    uncommitted_max = IN_FLIGHT_MAX + RATE * 3 * (COMMIT_INTERVAL_MS + 1000) // 1000
    assert doubled <= KILLS * uncommitted_max, doubled
    assert redis_problems(redis_node.client(), made, time.monotonic() - started_s) == []
    print(f"{len(made):,} events, {KILLS} kills, {doubled:,} doubled in Kafka, none missing")
