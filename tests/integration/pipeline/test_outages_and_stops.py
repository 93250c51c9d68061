"""Down at start, frozen in mid-flow, stopped by a signal: waited for, bounded, and clean."""

import signal
import time

import pytest

from tests.support.daemon_process import ALL_TOPICS, INPUT, DaemonProcess
from tests.support.feed import Feeder, feed
from tests.support.kafka_node import KafkaNode
from tests.support.redis_node import RedisNode
from tests.support.verify import read_topics
from tests.support.wait import wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300)]


def all_committed(kafka: KafkaNode) -> bool:
    return kafka.committed("ingestd", INPUT) == kafka.ends(INPUT)


def test_kafka_and_redis_that_are_down_at_start_are_waited_for(own_kafka: KafkaNode, redis_node: RedisNode, tmp_path):
    own_kafka.create_topics(ALL_TOPICS)
    feed(own_kafka.bootstrap, 0, 1000)
    own_kafka.stop()
    redis_node.stop()
    daemon = DaemonProcess(tmp_path / "daemon", own_kafka.bootstrap, redis_node.url).start()
    try:
        wait_until(lambda: any("redis is not available" in str(line) for line in daemon.log_lines()), "it says so", 30)
        assert daemon.running()
        own_kafka.start()
        redis_node.start()
        wait_until(lambda: all_committed(own_kafka), "all is committed", 90)
        assert daemon.stop() == 0, daemon.log_tail()
    finally:
        daemon.kill()
    assert daemon.state()["books"][INPUT]["delivered"] == 1000


def test_a_frozen_broker_holds_the_daemon_back_with_flat_memory(own_kafka: KafkaNode, redis_node: RedisNode, tmp_path):
    own_kafka.create_topics(ALL_TOPICS)
    made = feed(own_kafka.bootstrap, 0, 120_000)
    daemon = DaemonProcess(
        tmp_path / "daemon",
        own_kafka.bootstrap,
        redis_node.url,
        kafka={"consumer_options": {"session.timeout.ms": "45000"}},
        pipeline={"memory_limit_mib": 64, "in_flight_events_max": 20_000},
    ).start()
    try:
        wait_until(lambda: daemon.column("received") > 20_000, "it is under load", 60)
        own_kafka.freeze()
        time.sleep(3)  # the time of the outage, not a wait for a state
        before_bytes = daemon.rss_bytes()
        time.sleep(3)
        assert daemon.rss_bytes() - before_bytes < 16 << 20
        own_kafka.thaw()
        wait_until(lambda: all_committed(own_kafka), "all is committed", 90)
        assert daemon.stop() == 0, daemon.log_tail()
    finally:
        daemon.kill()
    assert set(read_topics(own_kafka.bootstrap).by_id) == {each.id for each in made}
    assert daemon.state()["balanced"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_drains_commits_leaves_and_doubles_nothing(
    own_kafka: KafkaNode, redis_node: RedisNode, tmp_path, number: int
):
    own_kafka.create_topics(ALL_TOPICS)
    feeder = Feeder(own_kafka.bootstrap, 6000)
    feeder.start()
    daemon = DaemonProcess(tmp_path / "daemon", own_kafka.bootstrap, redis_node.url)
    try:
        for _ in range(3):
            daemon.start().wait_joined()
            wait_until(lambda: daemon.column("delivered") > 4000, "it is under load", 60)
            daemon.signal(number)
            assert daemon.wait() == 0, daemon.log_tail()
            assert daemon.state()["balanced"]
        made = feeder.stop()
        daemon.start().wait_joined()
        wait_until(lambda: all_committed(own_kafka), "all is committed", 60)
        assert daemon.stop() == 0
    finally:
        feeder._stopping.set()
        daemon.kill()
    copies = read_topics(own_kafka.bootstrap)
    assert set(copies.by_id) == {each.id for each in made}
    assert set(copies.by_id.values()) == {1}


def test_a_stop_that_cannot_drain_ends_with_1_says_how_many_and_loses_nothing(
    own_kafka: KafkaNode, redis_node: RedisNode, tmp_path
):
    own_kafka.create_topics(ALL_TOPICS)
    made = feed(own_kafka.bootstrap, 0, 1000)
    daemon = DaemonProcess(tmp_path / "daemon", own_kafka.bootstrap, redis_node.url, pipeline={"drain_timeout_ms": 500})
    redis_node.freeze()
    try:
        daemon.start().wait_joined()
        wait_until(lambda: daemon.column("in_flight") == 1000, "all are in flight", 30)
        assert daemon.stop() == 1
        last = daemon.log_lines()[-1]
        assert last["message"] == "stopped" and last["unfinished_events"] == 1000
        assert daemon.state()["books"][INPUT]["abandoned"] == 1000 and daemon.state()["balanced"]
        redis_node.thaw()
        daemon.start().wait_joined()
        wait_until(lambda: all_committed(own_kafka), "all is committed", 60)
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    assert set(read_topics(own_kafka.bootstrap).by_id) == {each.id for each in made}


def test_a_second_signal_ends_at_once(own_kafka: KafkaNode, redis_node: RedisNode, tmp_path):
    own_kafka.create_topics(ALL_TOPICS)
    feed(own_kafka.bootstrap, 0, 1000)
    redis_node.freeze()
    daemon = DaemonProcess(
        tmp_path / "daemon", own_kafka.bootstrap, redis_node.url, pipeline={"drain_timeout_ms": 60_000}
    )
    try:
        daemon.start().wait_joined()
        wait_until(lambda: daemon.column("in_flight") == 1000, "all are in flight", 30)
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: any(line["message"] == "stopping" for line in daemon.log_lines()), "it drains", 10)
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(10) == 1
    finally:
        daemon.kill()
