"""Five bottlenecks, each made on purpose, and `ingestd top --json` naming each. Real Kafka, real Redis."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon_process import ALL_TOPICS, DaemonProcess
from tests.support.feed import feed
from tests.support.kafka_node import KafkaNode
from tests.support.ports import listens
from tests.support.redis_node import RedisNode
from tests.support.wait import MULTIPLIER, wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]
# How long the part may take to be named, and how long one picture is.
NAMED_WITHIN_S = 90.0
PICTURE_S = 1.5


class World:
    """One broker, one Redis, and a backlog that grows when the daemon comes near its end."""

    def __init__(self, folder: Path, kafka: KafkaNode, redis_node: RedisNode) -> None:
        self.folder, self.kafka, self.redis = folder, kafka, redis_node
        self.fed_count = 0
        kafka.create_topics(ALL_TOPICS, 4)

    def feed(self, count: int) -> None:
        feed(self.kafka.bootstrap, self.fed_count, count)
        self.fed_count += count

    @contextmanager
    def daemon(self, **overrides: Any) -> Iterator[DaemonProcess]:
        """With its first events, as it has been fed before."""
        socket = self.folder / "control.sock"
        process = DaemonProcess(
            self.folder / "daemon", self.kafka.bootstrap, self.redis.url, control={"socket": str(socket)}, **overrides
        ).start()
        try:
            wait_until(lambda: process.running() and listens(socket), "the daemon can be asked", 60)
            yield process
        finally:
            process.kill()

    def named(self, daemon: DaemonProcess, part: str, more: int = 20_000) -> dict[str, Any]:
        """The first picture of `top` that names this part, with `more` events whenever few are left. Fails with what it
        named instead."""
        seen = []
        deadline_s = time.monotonic() + NAMED_WITHIN_S * MULTIPLIER
        with ThreadPoolExecutor(1) as feeding:
            fed = None
            while time.monotonic() < deadline_s:
                for picture in pictures(daemon, 3):
                    seen.append(f"{picture['bottleneck']}: {picture['words']} lag {picture['lag_records']}")
                    if picture["bottleneck"] == part:
                        return picture
                if picture["lag_records"] < more and (fed is None or fed.done()):
                    fed = feeding.submit(self.feed, more)
        raise AssertionError(f"{part} was never named, but {seen}")


def pictures(daemon: DaemonProcess, count: int) -> list[dict[str, Any]]:
    words = ["top", "-c", str(daemon.config_path), "--json", "--interval", str(PICTURE_S), "--times", str(count)]
    done = subprocess.run([sys.executable, "-m", "ingestd", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr + daemon.log_tail()
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def duty_cycle(freeze: Callable[[], None], thaw: Callable[[], None], frozen_s: float, awake_s: float) -> Iterator[None]:
    """A server that runs only now and then."""
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            freeze()
            ended.wait(frozen_s)
            thaw()
            ended.wait(awake_s)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def busy_loops(processor: int, count: int) -> Iterator[None]:
    """Programs that want all of one processor."""
    loop = f"import os\nos.sched_setaffinity(0, {{{processor}}})\nwhile True: pass"
    programs = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait(20)


@pytest.fixture
def world(own_kafka: KafkaNode, redis_node: RedisNode, tmp_path: Path) -> World:
    return World(tmp_path, own_kafka, redis_node)


def tasks(daemon: DaemonProcess) -> list[int]:
    return [int(task.name) for task in Path(f"/proc/{daemon.pid}/task").iterdir()]


def starve(daemon: DaemonProcess, processor: int) -> None:
    """All threads on one processor, and behind all others there."""
    for task in tasks(daemon):
        os.sched_setaffinity(task, {processor})
        os.setpriority(os.PRIO_PROCESS, task, 5)  # at 19 it would not even answer


def prefer(daemon: DaemonProcess) -> None:
    """Before whatever else this machine does, where that is allowed: else CPU may really be what is short."""
    with suppress(PermissionError):
        for task in tasks(daemon):
            os.setpriority(os.PRIO_PROCESS, task, -15)


def test_a_slow_redis_is_named(world: World):
    world.feed(60_000)
    with duty_cycle(world.redis.freeze, world.redis.thaw, 0.95, 0.05):
        with world.daemon(pipeline={"in_flight_events_max": 4000, "batch_events_max": 500}) as daemon:
            picture = world.named(daemon, "redis")
    assert "Redis is slow" in picture["words"] and picture["held_back_by"] is not None


def test_slow_brokers_are_named(world: World):
    world.feed(60_000)
    with world.daemon(pipeline={"in_flight_events_max": 4000, "batch_events_max": 500}) as daemon:
        with duty_cycle(world.kafka.freeze, world.kafka.thaw, 0.95, 0.05):
            picture = world.named(daemon, "kafka")
    assert "Kafka's brokers are slow" in picture["words"]


def test_a_starved_processor_is_named(world: World):
    world.feed(60_000)
    processor = max(os.sched_getaffinity(0))
    with world.daemon() as daemon:
        starve(daemon, processor)
        with busy_loops(processor, 3):
            picture = world.named(daemon, "cpu")
    assert "CPU is short" in picture["words"]


# Of these two the loop itself is the limit: sinks that get little to do leave it the machine.
NOTHING_STORED = {"types": []}


def test_heavy_rules_are_named(world: World):
    labels = {f"label-{n}": ["nowhere"] for n in range(4)}
    rules = [{"name": f"rule {n}", "action": "drop", "match": {"labels": labels}} for n in range(900)]
    rules.append({"name": "the rest", "action": "drop"})
    world.feed(150_000)
    with world.daemon(rules=rules, storage=NOTHING_STORED) as daemon:
        prefer(daemon)
        picture = world.named(daemon, "rules", 100_000)
    assert "901 rules" in picture["words"]


def test_small_batches_are_named(world: World):
    world.feed(100_000)
    limits = {"batch_events_max": 1, "in_flight_events_max": 50}
    with world.daemon(pipeline=limits, storage=NOTHING_STORED) as daemon:
        prefer(daemon)
        picture = world.named(daemon, "small_batches", 50_000)
    assert "pipeline.batch_events_max is 1" in picture["words"]
