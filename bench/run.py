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
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Producer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import events, native
from ingestd.config import kafka_consumers, kafka_producers
from ingestd.config.loading import parse
from ingestd.config.schema import Config
from tests.support.daemon_process import TYPED, DaemonProcess
from tests.support.kafka_node import KafkaNode
from tests.support.redis_node import RedisNode

PARTITIONS = 4
RUN_TIMEOUT_S = 600


class Run(NamedTuple):
    """One run over the topic."""

    cpu_us: float  # of the whole process, an event, without what starting and joining cost
    events_s: float
    rss_mib: float


class Whole(NamedTuple):
    """One process from its start to the last commit."""

    cpu_s: float
    events_s: float
    rss_mib: float


def cpu_s(pid: int) -> float:
    """CPU time of all threads of another process, in nanoseconds' steps: /proc/PID/stat counts in 10 ms."""
    return time.clock_gettime(~pid << 3 | 2)  # CPUCLOCK_SCHED of a process id, linux/posix-timers.h


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def fill(kafka: KafkaNode, topic: str, count: int, size_bytes: int, console: Console) -> None:
    """`count` events in PARTITIONS partitions."""
    kafka.create_topics([topic], PARTITIONS)
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "linger.ms": 50,
            "batch.size": 1_000_000,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
            "log_level": 0,
        }
    )
    for index in track(range(count), "making events", console=console, transient=True):
        producer.produce(topic, events.make(index, size_bytes=size_bytes).payload, partition=index % PARTITIONS)
        if index % 5000 == 0:
            producer.poll(0)
    producer.flush()


def measure(kafka: KafkaNode, process: subprocess.Popen[bytes], group: str, topic: str, count: int) -> Whole:
    """From the start of the process to the commit of the last event."""
    pid, started_s, peak = process.pid, time.monotonic(), 0.0
    first_count, first_s = 0, started_s
    while True:
        assert process.poll() is None, f"the process ended with exit code {process.returncode}"
        committed_count = sum(max(0, offset) for offset in kafka.committed(group, topic).values())
        now_s = time.monotonic()
        if not first_count:
            first_count, first_s = committed_count, now_s
        if committed_count >= count:
            break
        peak = max(peak, rss_mib(pid))
        assert now_s - started_s < RUN_TIMEOUT_S, "the run did not end"
        time.sleep(0.02)
    # From commit to commit, as joining is not throughput; a run that is over with its first commit has only its whole.
    counted, took_s = (count - first_count, now_s - first_s) if first_count < count else (count, now_s - started_s)
    return Whole(cpu_s(pid), counted / took_s, max(peak, rss_mib(pid)))


def cost(start: Callable[[str, int], Whole], count: int) -> Run:
    """What one more event costs: a run over four events has all the rest.

    Counting from a commit in mid-run is no way out: what was taken and not yet committed has cost its CPU already
    (7 % too little at 1,000,000 events, all of it at 20,000).
    """
    few, all_of_it = start("few", PARTITIONS), start("in", count)
    cpu_us = (all_of_it.cpu_s - few.cpu_s) / (count - PARTITIONS) * 1e6
    return Run(cpu_us, all_of_it.events_s, all_of_it.rss_mib)


def options(config: Config, group: str) -> tuple[dict[str, str], dict[str, str]]:
    """The daemon's own librdkafka options, for both sides. The native loop cannot choose a start by itself."""
    consumer = kafka_consumers.daemon_consumer_options(config, "native") | {
        "group.id": group,
        "auto.offset.reset": "earliest",
    }
    return consumer, kafka_producers.daemon_producer_options(config, "native")


def run_native(kafka: KafkaNode, topic: str, count: int, round_number: int) -> Whole:
    group = f"native-{topic}-{round_number}"
    config = parse(json.dumps({"kafka": {"brokers": [kafka.bootstrap]}, "pipeline": {"commit_interval_ms": 200}}))
    process = native.start(topic, "native.out", *options(config, group))
    try:
        return measure(kafka, process, group, topic, count)
    finally:
        process.terminate()
        process.wait(20)


def run_daemon(
    kafka: KafkaNode, folder: Path, topic: str, count: int, round_number: int, redis: RedisNode | None
) -> Whole:
    group = f"ingestd-{'b' if redis else 'a'}-{topic}-{round_number}"
    storage: dict[str, Any] = {} if redis else {"types": [], "indexes": []}
    daemon = DaemonProcess(
        folder / group,
        kafka.bootstrap,
        redis.url if redis else "redis://127.0.0.1:1/0",
        storage=storage,
        kafka={"group_id": group, "input_topics": [topic], "consumer_options": {}},
        health={"interval_s": 10},
        pipeline={"commit_interval_ms": 200},
    ).start()
    try:
        assert daemon.process is not None
        return measure(kafka, daemon.process, group, topic, count)
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
            fill(kafka, "few", PARTITIONS, size_bytes, console)
            kafka.create_topics(["native.out", *TYPED, "observability.dead_letter"], PARTITIONS)
            runs: dict[str, list[Run]] = {}
            for turn in range(rounds):
                sides = {
                    "native loop": lambda topic, n, turn=turn: run_native(kafka, topic, n, turn),
                    "ingestd": lambda topic, n, turn=turn: run_daemon(kafka, folder, topic, n, turn, None),
                }
                if redis is not None:
                    redis.client().flushall()
                    sides["ingestd with Redis"] = lambda topic, n, turn=turn: run_daemon(
                        kafka, folder, topic, n, turn, redis
                    )
                for side, start in sides.items():
                    run = cost(start, count)
                    runs.setdefault(side, []).append(run)
                    console.log(
                        f"round {turn + 1}: {side}: {run.cpu_us:.2f} µs CPU an event, "
                        f"{run.events_s:,.0f} events/s, {run.rss_mib:.0f} MiB"
                    )
        finally:
            if redis is not None:
                redis.stop()
            kafka.kill()
    medians = {side: median(found) for side, found in runs.items()}
    # Of the pairs that followed each other, so that a machine that drifts does not count.
    ratio = statistics.median(d.cpu_us / n.cpu_us for d, n in zip(runs["ingestd"], runs["native loop"], strict=True))
    return {
        "events": count,
        "event_bytes": size_bytes,
        "rounds": rounds,
        "ratio": ratio,
        "median": {side: run._asdict() for side, run in medians.items()},
        "runs": {side: [run._asdict() for run in found] for side, found in runs.items()},
    }


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
        table = Table(
            "side",
            "µs CPU an event",
            "events/s",
            "RSS MiB",
            title=f"{arguments.events:,} events of {arguments.size} bytes",
        )
        for side, run in result["median"].items():
            table.add_row(side, f"{run['cpu_us']:.2f}", f"{run['events_s']:,.0f}", f"{run['rss_mib']:.0f}")
        Console().print(table)
        print(f"ratio ingestd / native loop: {result['ratio']:.2f}")
    over = arguments.ratio_max is not None and result["ratio"] > arguments.ratio_max
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
