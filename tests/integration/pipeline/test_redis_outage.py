"""Redis goes away under load and comes back with its data."""

import os
import time

import pytest

from tests.support.daemon_process import ALL_TOPICS, INPUT, DaemonProcess
from tests.support.feed import Feeder
from tests.support.kafka_node import KafkaNode
from tests.support.redis_node import RedisNode
from tests.support.verify import read_topics, redis_problems
from tests.support.wait import wait_until

pytestmark = [pytest.mark.real, pytest.mark.valkey, pytest.mark.slow, pytest.mark.timeout(600)]
OUTAGE_S = float(os.environ.get("INGESTD_TEST_OUTAGE_S", "10"))
RATE = 10_000
# Python's own growth and one fetch reply; the limit itself is pipeline.memory_limit_mib.
RSS_SLACK_BYTES = 24 << 20


def test_redis_stopped_under_load_loses_nothing_and_keeps_memory_and_membership(
    own_kafka: KafkaNode, redis_node: RedisNode, tmp_path
):
    own_kafka.create_topics(ALL_TOPICS)
    feeder = Feeder(own_kafka.bootstrap, RATE)
    started_s = time.monotonic()
    daemon = DaemonProcess(
        tmp_path / "daemon",
        own_kafka.bootstrap,
        redis_node.url,
        pipeline={"memory_limit_mib": 64, "in_flight_events_max": 20_000},
    ).start()
    try:
        daemon.wait_joined()
        feeder.start()
        wait_until(lambda: daemon.column("delivered") > 20_000, "it is under load", 60)
        redis_node.stop()
        # Full when it takes no more: only then is what follows flat or not.
        wait_until(lambda: daemon.state()["open_batches"] and _stands(daemon), "it holds back", 60)
        full_bytes = daemon.rss_bytes()
        highest_bytes, end_s = full_bytes, time.monotonic() + OUTAGE_S
        while time.monotonic() < end_s:
            highest_bytes = max(highest_bytes, daemon.rss_bytes())
            time.sleep(0.1)
        redis_node.start()
        made = feeder.stop()
        wait_until(lambda: own_kafka.committed("ingestd", INPUT) == own_kafka.ends(INPUT), "all is committed", 120)
        assert daemon.stop() == 0, daemon.log_tail()
    finally:
        feeder._stopping.set()
        daemon.kill()
    assert highest_bytes - full_bytes < RSS_SLACK_BYTES, (full_bytes >> 20, highest_bytes >> 20)
    lines = [line["message"] for line in daemon.log_lines()]
    assert lines.count("partitions assigned") == 1, "there was a rebalance"
    assert daemon.state()["balanced"]
    copies = read_topics(own_kafka.bootstrap)
    assert set(copies.by_id) == {each.id for each in made}
    assert set(copies.by_id.values()) == {1}, "an outage of Redis doubled records in Kafka"
    assert redis_problems(redis_node.client(), made, time.monotonic() - started_s) == []
    print(f"{len(made):,} events, Redis away for {OUTAGE_S:.0f} s, RSS {full_bytes >> 20} -> {highest_bytes >> 20} MiB")


def _stands(daemon: DaemonProcess) -> bool:
    """Whether nothing is taken any more, over two of the daemon's own reports."""
    before = daemon.column("received")
    time.sleep(2.2)
    return daemon.column("received") == before
