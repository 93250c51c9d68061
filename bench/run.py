"""`make bench`: CPU of the whole process an event, ingestd against the native loop, in turn on one machine.

Goal: a ratio that holds on a noisy machine, from runs that follow each other. Not a goal: absolute speed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Producer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import events, native
from ingestd import kafka_options
from ingestd.config import Config, parse
from tests.support.daemon_process import DaemonProcess, TYPED
from tests.support.kafka_node import KafkaNode
from tests.support.redis_node import RedisNode
from tests.support.wait import wait_until

TICKS = os.sysconf("SC_CLK_TCK")
PARTITIONS = 4
RUN_TIMEOUT_S = 600
# Start-up (imports, joining the group) is not the cost of an event: counting begins when this share is done.
WARM_UP_SHARE = 0.1


class Run(NamedTuple):
    """One run over the topic, counted from the end of its warm-up."""

    cpu_us: float                 # of the whole process, an event
    events_s: float
    rss_mib: float


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def fill(kafka: KafkaNode, topic: str, count: int, size_bytes: int, console: Console) -> None:
    """`count` events in PARTITIONS partitions."""
    kafka.create_topics([topic], PARTITIONS)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 50, "batch.size": 1_000_000,
                         "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000, "log_level": 0})
    for index in track(range(count), "making events", console=console, transient=True):
        producer.produce(topic, events.make(index, size_bytes=size_bytes).payload, partition=index % PARTITIONS)
        if index % 5000 == 0:
            producer.poll(0)
    producer.flush()


def measure(kafka: KafkaNode, pid: int, group: str, topic: str, count: int) -> Run:
    """From a tenth of the way to the last commit."""
    def done() -> int:
        assert Path(f"/proc/{pid}").exists(), "the process ended"
        return sum(max(0, offset) for offset in kafka.committed(group, topic).values())

    wait_until(lambda: done() >= WARM_UP_SHARE * count, "the warm-up is over", RUN_TIMEOUT_S, 0.02)
    first_count, first_cpu_s, first_s, peak = done(), cpu_s(pid), time.monotonic(), 0.0
    while done() < count:
        peak = max(peak, rss_mib(pid))
        time.sleep(0.1)
        assert time.monotonic() - first_s < RUN_TIMEOUT_S, "the run did not end"
    counted = count - first_count
    return Run((cpu_s(pid) - first_cpu_s) / counted * 1e6, counted / (time.monotonic() - first_s), peak)


def options(config: Config, group: str) -> tuple[dict[str, str], dict[str, str]]:
    """The daemon's own librdkafka options, for both sides. The native loop cannot choose a start by itself."""
    consumer = kafka_options.consumer_options(config, "native") | {"group.id": group, "auto.offset.reset": "earliest"}
    return consumer, kafka_options.producer_options(config, "native")


def run_native(kafka: KafkaNode, folder: Path, topic: str, count: int, round_number: int) -> Run:
    group = f"native-{round_number}"
    config = parse(json.dumps({"kafka": {"brokers": [kafka.bootstrap]}, "pipeline": {"commit_interval_ms": 200}}))
    process = native.start(topic, "native.out", *options(config, group))
    try:
        return measure(kafka, process.pid, group, topic, count)
    finally:
        process.terminate()
        process.wait(20)


def run_daemon(kafka: KafkaNode, folder: Path, topic: str, count: int, round_number: int, redis: RedisNode | None) -> Run:
    group = f"ingestd-{'b' if redis else 'a'}-{round_number}"
    storage: dict[str, Any] = {} if redis else {"types": [], "indexes": []}
    daemon = DaemonProcess(
        folder / group, kafka.bootstrap, redis.url if redis else "redis://127.0.0.1:1/0", storage=storage,
        kafka={"group_id": group, "input_topics": [topic], "consumer_options": {}}, health={"interval_s": 10},
        pipeline={"commit_interval_ms": 200},
    ).start()
    try:
        return measure(kafka, daemon.pid, group, topic, count)
    finally:
        daemon.stop()


def median(runs: list[Run]) -> Run:
    return Run(*(statistics.median(column) for column in zip(*runs, strict=True)))


def compare(count: int, rounds: int, size_bytes: int, with_redis: bool, console: Console) -> dict[str, Any]:
    """All rounds; gives medians, the runs, and the ratios to the native loop."""
    with tempfile.TemporaryDirectory(prefix="ingestd-bench-") as name:
        folder = Path(name)
        kafka = KafkaNode(folder / "kafka").start()
        redis = RedisNode(folder / "redis").start() if with_redis else None
        try:
            fill(kafka, "in", count, size_bytes, console)
            kafka.create_topics(["native.out", *TYPED, "observability.dead_letter"], PARTITIONS)
            runs: dict[str, list[Run]] = {}
            for round_number in range(rounds):
                sides = {"native loop": lambda n: run_native(kafka, folder, "in", count, n),
                         "ingestd": lambda n: run_daemon(kafka, folder, "in", count, n, None)}
                if redis is not None:
                    redis.client().flushall()
                    sides["ingestd with Redis"] = lambda n: run_daemon(kafka, folder, "in", count, n, redis)
                for side, start in sides.items():
                    run = start(round_number)
                    runs.setdefault(side, []).append(run)
                    console.log(f"round {round_number + 1}: {side}: {run.cpu_us:.2f} µs CPU an event, "
                                f"{run.events_s:,.0f} events/s, {run.rss_mib:.0f} MiB")
        finally:
            if redis is not None:
                redis.stop()
            kafka.kill()
    medians = {side: median(found) for side, found in runs.items()}
    # Of the pairs that followed each other, so that a machine that drifts does not count.
    ratio = statistics.median(d.cpu_us / n.cpu_us for d, n in zip(runs["ingestd"], runs["native loop"], strict=True))
    return {"events": count, "event_bytes": size_bytes, "rounds": rounds, "ratio": ratio,
            "median": {side: run._asdict() for side, run in medians.items()},
            "runs": {side: [run._asdict() for run in found] for side, found in runs.items()}}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=500, help="bytes an event")
    parser.add_argument("--redis", action="store_true", help="also with the Redis sink")
    parser.add_argument("--ratio-max", type=float, help="exit 1 when the ratio is above it")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    result = compare(arguments.events, arguments.rounds, arguments.size, arguments.redis, console)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        table = Table("side", "µs CPU an event", "events/s", "RSS MiB", title=f"{arguments.events:,} events of {arguments.size} bytes")
        for side, run in result["median"].items():
            table.add_row(side, f"{run['cpu_us']:.2f}", f"{run['events_s']:,.0f}", f"{run['rss_mib']:.0f}")
        Console().print(table)
        print(f"ratio ingestd / native loop: {result['ratio']:.2f}")
    over = arguments.ratio_max is not None and result["ratio"] > arguments.ratio_max
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
