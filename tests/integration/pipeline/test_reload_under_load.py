"""SIGHUP twice a second while events pass, on a real Kafka: no rebalance, nothing lost or doubled, and no later."""

import asyncio
import signal
import time

import pytest
import yaml

from tests.support.daemon_process import ALL_TOPICS, INPUT, DaemonProcess
from tests.support.feed import Feeder
from tests.support.kafka_node import KafkaNode
from tests.support.ports import free_ports
from tests.support.redis_node import RedisNode
from tests.support.scrape import Endpoint, Figures
from tests.support.verify import read_topics
from tests.support.wait import wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]
RATE, PARTITIONS = 2000, 4
TURN_S, TURNS = 6.0, 3
RELOAD_INTERVAL_S = 0.5
# p99 beside the turns without reload: half as much again, and what one pause of a busy machine is worth.
FACTOR, SLACK_S = 1.5, 0.1


def scrape(address: str) -> Figures:
    async def ask() -> Figures:
        async with Endpoint(address) as endpoint:
            return await endpoint.figures()

    return asyncio.run(ask())


def buckets(figures: Figures) -> dict[float, float]:
    """Events by the upper bound of their time."""
    return {float(labels["le"]): count for labels, count in figures.rows("ingestd_end_to_end_seconds_bucket")}


def p99_s(turns: list[tuple[dict[float, float], dict[float, float]]]) -> float:
    """Within its bucket as if events were spread evenly there, as Prometheus does."""
    passed = {le: sum(after[le] - before[le] for before, after in turns) for le in turns[0][0]}
    wanted = 0.99 * passed[float("inf")]
    below_s = below = 0.0
    for le, count in sorted(passed.items()):
        if count >= wanted:
            return below_s if le == float("inf") else below_s + (le - below_s) * (wanted - below) / (count - below)
        below_s, below = le, count
    raise AssertionError("the last bucket has everything")


def hang_up(daemon: DaemonProcess, turn_s: float) -> int:
    """Another rule, another limit and another TTL each time. Gives how often."""
    config = yaml.safe_load(daemon.config_path.read_text())
    beside = daemon.config_path.with_suffix(".new")
    begun_s, count = time.monotonic(), 0
    while time.monotonic() - begun_s < turn_s:
        count += 1
        config["rules"] = [{"name": f"r{count}", "match": {"services": [f"none-{count}"]}, "action": "drop"}]
        config["pipeline"] = {"batch_events_max": 1000 + count}
        config["storage"] = {"logs_ttl_s": 86_400 + count}
        beside.write_text(yaml.safe_dump(config))
        beside.replace(daemon.config_path)
        daemon.signal(signal.SIGHUP)
        time.sleep(RELOAD_INTERVAL_S)
    return count


def lines(daemon: DaemonProcess, message: str) -> int:
    return sum(line["message"] == message for line in daemon.log_lines())


def test_reloads_under_load_cost_no_event_no_rebalance_and_no_time(
    own_kafka: KafkaNode, redis_node: RedisNode, tmp_path
):
    own_kafka.create_topics(ALL_TOPICS, PARTITIONS)
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    daemon = DaemonProcess(tmp_path / "daemon", own_kafka.bootstrap, redis_node.url, http={"listen": address})
    feeder = Feeder(own_kafka.bootstrap, RATE, PARTITIONS)
    quiet, reloaded, hang_ups = [], [], 0
    try:
        daemon.start().wait_joined()
        feeder.start()
        wait_until(lambda: daemon.column("delivered") > 3 * RATE, "events pass", 90)
        # In turns, as the machine may be busier in one minute than in the next.
        for _ in range(TURNS):
            marks = [buckets(scrape(address))]
            time.sleep(TURN_S)
            marks.append(buckets(scrape(address)))
            hang_ups += hang_up(daemon, TURN_S)
            marks.append(buckets(scrape(address)))
            quiet.append((marks[0], marks[1]))
            reloaded.append((marks[1], marks[2]))
        made = feeder.stop()
        wait_until(lambda: own_kafka.committed("ingestd", INPUT) == own_kafka.ends(INPUT), "all is committed", 120)
        wait_until(lambda: lines(daemon, "config reloaded") == hang_ups, "each reload was done", 30)
        assert daemon.stop() == 0, daemon.log_tail()
    finally:
        feeder._stopping.set()
        daemon.kill()
    assert hang_ups >= TURNS * TURN_S / RELOAD_INTERVAL_S / 2
    assert lines(daemon, "partitions assigned") == 1, "a reload brought a rebalance"
    state = daemon.state()
    assert state["balanced"] and state["books"][INPUT]["delivered"] == len(made)
    copies = read_topics(own_kafka.bootstrap)
    assert set(copies.by_id) == {each.id for each in made}, "events are missing"
    assert sum(copies.by_id.values()) == len(made), "events are doubled"
    without_s, with_s = p99_s(quiet), p99_s(reloaded)
    print(f"p99 {without_s * 1000:.1f} ms without, {with_s * 1000:.1f} ms with {hang_ups} reloads")
    assert with_s <= FACTOR * without_s + SLACK_S, f"p99 {without_s:.3f} s without and {with_s:.3f} s with reloads"
