"""`make bench-client`: what the client library costs beside a bare confluent-kafka loop, in turn in one run.

Goal: ratios that hold on a noisy machine. Two bare loops of `produce(on_delivery=...)` and `poll(0)` over bytes that
are ready, with the library's own librdkafka options: `bare` sends the values only, `bare record` the whole record that
the library sends, with key and headers. `publish_log` makes a full log event of its arguments, with every field, record
headers and a future; `publish_many` takes ready Event objects.
Not a goal: absolute speed, or what the broker does.
"""

import argparse
import cProfile
import json
import pstats
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Producer as KafkaProducer
from rich.console import Console
from rich.table import Table

from bench import events
from ingestd.cli.demo.mock_cluster import MockClusterProcess
from ingestd.client import Event, Producer
from ingestd.client.context import DEFAULT_HEADER_NAMES
from ingestd.client.producing.delivery import DeliveryFuture
from ingestd.client.producing.options import settle
from ingestd.client.producing.record import RecordMaker

TOPIC = "observability.events"
PARTITIONS = 4
BATCH_EVENTS = 250
DISTINCT_EVENTS = 250  # a program's event has just been made: it comes from the processor's cache, on all sides
BARE_SIDES = ("bare", "bare record")
OWN_SIDES = ("publish_log", "publish_many")
SIDES = BARE_SIDES + OWN_SIDES


class Run(NamedTuple):
    """One side over all events, from the first call to the last acknowledgement."""

    events_s: float
    cpu_us: float  # of the whole process, an event; librdkafka's threads are in it


def full_events(count: int) -> list[Event]:
    """Log events of about 500 bytes with every field; five share a correlation and a trace."""
    made = []
    for index in range(min(count, DISTINCT_EVENTS)):
        source = json.loads(events.make(index - index % 5, size_bytes=380).payload)
        made.append(
            Event.from_json(
                json.dumps(
                    source
                    | {
                        "id": events.identifier("id", index),
                        "type": "log",
                        "service": "checkout",
                        "correlation_id": events.identifier("request", index // 5),
                        "trace_id": events.identifier("trace", index // 5),
                        "span_id": events.identifier("span", index)[:16],
                        "data": {"attempt": index % 3, "took_ms": 12.5},
                    }
                )
            )
        )
    return (made * (count // len(made) + 1))[:count]


def run_bare(brokers: str, made: list[Event], whole: bool = False) -> Any:
    maker = RecordMaker(DEFAULT_HEADER_NAMES, 1 << 20)
    ready = {id(event): maker.make(event, True) for event in made[:DISTINCT_EVENTS]}
    records = [ready[id(event)] for event in made]
    kafka = KafkaProducer(settle(brokers, "checkout", {}).librdkafka | {"log_level": 0})
    kafka.list_topics(TOPIC, 10)
    delivered = 0

    def on_delivery(error: object, message: object) -> None:
        nonlocal delivered
        assert error is None
        delivered += 1

    yield
    for value, key, headers in records:
        while True:
            try:
                if whole:
                    kafka.produce(TOPIC, value, key, on_delivery=on_delivery, headers=headers)
                else:
                    kafka.produce(TOPIC, value, on_delivery=on_delivery)
                break
            except BufferError:
                kafka.poll(0.01)
        kafka.poll(0)
    kafka.flush()
    yield
    assert delivered == len(made)


def run_publish_log(brokers: str, made: list[Event]) -> Any:
    with Producer(brokers, TOPIC, "checkout") as producer:
        producer.publish_log("info", "bench", "warm").result(30)
        yield
        # As a program that looks at each future soon, and keeps none: a list of 100,000 is for the garbage collector to
        # walk again and again.
        futures: deque[DeliveryFuture] = deque()
        for event in made:
            future = producer.publish_log(
                event.level,
                event.component,
                event.message,
                event.labels,
                event.metadata,
                correlation_id=event.correlation_id,
                trace_id=event.trace_id,
                span_id=event.span_id,
                data=event.data,
            )
            futures.append(future)
            while futures and futures[0].done():
                assert futures.popleft().exception(0) is None
        producer.flush()
        yield
        assert all(future.exception(0) is None for future in futures)


def run_publish_many(brokers: str, made: list[Event]) -> Any:
    with Producer(brokers, TOPIC, "checkout") as producer:
        producer.publish_log("info", "bench", "warm").result(30)
        yield
        futures = [
            producer.publish_many(made[index : index + BATCH_EVENTS]) for index in range(0, len(made), BATCH_EVENTS)
        ]
        producer.flush()
        yield
        assert sum(future.result(0) for future in futures) == len(made)


RUNNERS: dict[str, Callable[[str, list[Event]], Any]] = {
    "bare": run_bare,
    "bare record": lambda brokers, made: run_bare(brokers, made, whole=True),
    "publish_log": run_publish_log,
    "publish_many": run_publish_many,
}


def timed(side: str, brokers: str, made: list[Event], profile: cProfile.Profile | None = None) -> Run:
    """Runs between the two yields of a side are timed; what is before and behind is not."""
    steps = RUNNERS[side](brokers, made)
    next(steps)
    cpu_s, started_s = time.process_time(), time.perf_counter()
    if profile is not None:
        profile.enable()
    next(steps)
    if profile is not None:
        profile.disable()
    took_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    assert next(steps, None) is None
    return Run(len(made) / took_s, cpu_s / len(made) * 1e6)


def compare(brokers: str, count: int, rounds: int, console: Console) -> dict[str, Any]:
    """All rounds; gives the runs, medians, and each side's rate as a share of the bare loop's of the same round."""
    made = full_events(count)
    runs: dict[str, list[Run]] = {side: [] for side in SIDES}
    for turn in range(rounds):
        for side in SIDES:
            run = timed(side, brokers, made)
            runs[side].append(run)
            console.log(f"round {turn + 1}: {side}: {run.events_s:,.0f} events/s, {run.cpu_us:.2f} µs CPU an event")

    def ratios(figure: Callable[[Run, Run], float]) -> dict[str, dict[str, float]]:
        """Of pairs of the same round, so that a machine that drifts does not count."""
        return {
            side: {
                bare: statistics.median(figure(own, other) for own, other in zip(runs[side], runs[bare], strict=True))
                for bare in BARE_SIDES
            }
            for side in OWN_SIDES
        }

    return {
        "events": count,
        "event_bytes": statistics.median(len(event.to_json()) for event in made),
        "rounds": rounds,
        "ratio": ratios(lambda own, other: own.events_s / other.events_s),
        "cpu_ratio": ratios(lambda own, other: other.cpu_us / own.cpu_us),
        "runs": {side: [run._asdict() for run in found] for side, found in runs.items()},
    }


def show(result: dict[str, Any]) -> None:
    table = Table(
        "side",
        "events/s",
        "of bare",
        "of bare record",
        "µs CPU an event",
        title=f"{result['events']:,} full log events of {result['event_bytes']:.0f} bytes, {result['rounds']} rounds",
    )
    for side, runs in result["runs"].items():
        rate, cpu = (statistics.median(run[name] for run in runs) for name in ("events_s", "cpu_us"))
        shares = result["ratio"].get(side, {})
        table.add_row(
            side, f"{rate:,.0f}", *(f"{shares[bare]:.2f}" if shares else "" for bare in BARE_SIDES), f"{cpu:.2f}"
        )
    Console().print(table)


def with_brokers(real: bool, work: Callable[[str], int]) -> int:
    """`work` with the brokers of a local Apache Kafka, or of a mock cluster in a process of its own."""
    if not real:
        cluster = MockClusterProcess({TOPIC: PARTITIONS})
        try:
            return work(cluster.bootstrap)
        finally:
            cluster.stop()
    from tests.support.kafka_node import KafkaNode

    with tempfile.TemporaryDirectory(prefix="ingestd-bench-") as folder:
        node = KafkaNode(Path(folder) / "kafka").start()
        try:
            node.create_topics([TOPIC], PARTITIONS)
            return work(node.bootstrap)
        finally:
            node.kill()


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.client", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mock", action="store_true", help="librdkafka's mock cluster instead of Apache Kafka")
    parser.add_argument("--profile", choices=OWN_SIDES, help="show where one side's time goes, by cProfile")
    parser.add_argument("--check", action="store_true", help="exit 1 below 0.3 (publish_log) or 0.6 (publish_many)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    def work(brokers: str) -> int:
        if arguments.profile:
            profile = cProfile.Profile()
            timed(arguments.profile, brokers, full_events(arguments.events), profile)
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
            return 0
        result = compare(brokers, arguments.events, arguments.rounds, Console(stderr=True))
        if arguments.json:
            print(json.dumps(result, indent=2))
        else:
            show(result)
        met = result["ratio"]["publish_log"]["bare"] >= 0.3 and result["ratio"]["publish_many"]["bare"] >= 0.6
        return 1 if arguments.check and not met else 0

    return with_brokers(not arguments.mock, work)


if __name__ == "__main__":
    sys.exit(main())
