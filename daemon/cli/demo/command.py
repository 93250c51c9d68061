"""`ingestd demo`: everything here, on a mock Kafka and a private Redis, with the real daemon."""

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import redis

from ...config.schema import Config
from ...errors import IngestdError
from ...events.vocabulary import TYPE_NAMES
from ..shared.events_view import tree_object
from ..shared.output import Output, write_json
from . import report
from .mock_cluster import MockClusterProcess
from .private_redis import PrivateRedis
from .traffic import Traffic

PARTITIONS = 4
# The mock cluster keeps 5 MiB or 100,000 records a partition, and a trace event of the demo has about 420 bytes.
# Half of it, as keys do not spread evenly.
RECORDS_MAX = PARTITIONS * 5 * (1 << 20) // 420 // 2
FINISH_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


@contextlib.contextmanager
def running(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon as a child in a session of its own: Ctrl-C reaches the demo alone, which then ends it in order."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


class Demo:
    """One run. Everything it starts ends with it."""

    def __init__(self, rate: int, seconds: int, seed: int, console: Output) -> None:
        self.rate, self.seconds = rate, seconds
        self.console = console
        self.traffic = Traffic(seed, datetime.now(UTC))
        self.sent: Counter[str] = Counter()
        self.topics = Config().kafka.topics

    def outputs(self) -> dict[str, str]:
        """Kind -> topic."""
        topics = self.topics
        return dict(zip((*TYPE_NAMES, "bad"), topics.outputs(), strict=True))

    def write_config(self, folder: Path, bootstrap: str, redis_url: str) -> Path:
        config = {
            "kafka": {"brokers": [bootstrap]},
            "redis": {"url": redis_url},
            "http": {"listen": None},
            "pipeline": {"commit_interval_ms": 200},
            "rules": [{"name": "no debug logs", "match": {"types": ["log"], "levels": ["debug"]}, "action": "drop"}],
            # Its own health events go to the same topic as the traffic's: the demo counts only the traffic's.
            "health": {"interval_s": 3600},
            "logging": {"format": "plain"},
        }
        path = folder / "config.yaml"
        path.write_text(json.dumps(config, indent=2))
        return path

    def publish(self, bootstrap: str, state: "State") -> None:
        """Traffic at the rate, for the seconds."""
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 0})
        records = self.traffic.records()
        started_s = time.monotonic()
        total = self.rate * self.seconds
        while self.sent["all"] < total:
            due = min(total, int((time.monotonic() - started_s) * self.rate))
            while self.sent["all"] < due:
                record = next(records)
                producer.produce(self.topics.observability_events, record.payload, record.key)
                self.sent["all"] += 1
                self.sent["dropped" if record.dropped else record.kind] += 1
            producer.poll(0)
            state.show(self.sent["all"])
            time.sleep(0.01)
        # The last request must be whole, so that it can be looked for.
        while self.traffic.last_request is None:
            producer.produce(self.topics.observability_events, next(records).payload)
        if producer.flush(10):
            raise IngestdError("the mock cluster did not take all records")

    def finish(self, state: "State", process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Wait until every record has reached its end, stop the daemon, and give its closing books."""
        deadline_s = time.monotonic() + FINISH_TIMEOUT_S
        while True:
            books = state.show(self.sent["all"])
            accounts = books.get("books", {}).values()
            if (
                accounts
                and sum(a["received"] for a in accounts) >= self.sent["all"]
                and not any(a["in_flight"] for a in accounts)
            ):
                break
            if process.poll() is not None:
                raise IngestdError("the daemon ended by itself")
            if time.monotonic() > deadline_s:
                raise IngestdError(f"not every event was done within {FINISH_TIMEOUT_S:.0f} s")
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        if process.wait(STOP_TIMEOUT_S) != 0:
            raise IngestdError(f"the daemon ended with exit code {process.returncode}")
        return state.read()

    def topic_counts(self, bootstrap: str) -> dict[str, int]:
        """Records by kind, from the ends of the output topics."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "demo-count", "log_level": 0})
        try:
            return {
                kind: sum(
                    consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in range(PARTITIONS)
                )
                for kind, topic in self.outputs().items()
            }
        finally:
            consumer.close()

    def run(self, folder: Path) -> tuple[dict[str, Any], list[str]]:
        """Gives the closing state and what was wrong with it."""
        topics = {name: PARTITIONS for name in (self.topics.observability_events, *self.outputs().values())}
        cluster = MockClusterProcess(topics)
        try:
            server = PrivateRedis(folder)
            try:
                return self._run_daemon(folder, cluster, server)
            finally:
                server.stop()
        finally:
            cluster.stop()

    def _run_daemon(
        self, folder: Path, cluster: MockClusterProcess, server: PrivateRedis
    ) -> tuple[dict[str, Any], list[str]]:
        config = self.write_config(folder, cluster.bootstrap, server.url)
        books, log = folder / "books.json", folder / "daemon.log"
        state = State(books, self.console)
        words = [sys.executable, "-m", "ingestd", "run", "-c", str(config), "--books-file", str(books)]
        self.console.line(
            f"A mock Kafka at {cluster.bootstrap}, a private Redis, and the daemon: "
            f"{self.rate:,} events/s for {self.seconds} s"
        )
        try:
            with running(words, log) as process:
                self.publish(cluster.bootstrap, state)
                closing = self.finish(state, process)
        except IngestdError as error:
            raise IngestdError(f"{error}; its last words:\n{log.read_text()[-1500:]}") from None
        request = self.traffic.last_request
        assert request is not None
        client = redis.Redis(unix_socket_path=str(server.socket))
        found = report.look_up(client, request)
        counts = self.topic_counts(cluster.bootstrap)
        # The daemon reports its own health to the same topic: those records are counted by what is in its log of sends.
        counts["health"] -= closing["own_health_events"]
        wrong = report.problems(closing, self.sent, counts, found, request)
        report.show(self.console, closing, found, request, wrong)
        shown = [json.loads(event.to_json()) for event in found.events]
        closing |= {"topics": counts, "problems": wrong, "request": shown, "trace": tree_object(found.tree)}
        return closing, wrong


class State:
    """The daemon's books file, and the line of progress made from it."""

    def __init__(self, path: Path, console: Output) -> None:
        self._path = path
        self._console = console
        self._said_s = 0.0

    def read(self) -> dict[str, Any]:
        try:
            return json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}

    def show(self, sent_count: int) -> dict[str, Any]:
        """Once a second, one line: on a terminal in place, else below the last."""
        state = self.read()
        if time.monotonic() - self._said_s >= 1.0:
            self._said_s = time.monotonic()
            totals: Counter[str] = Counter()
            for account in state.get("books", {}).values():
                totals.update(account)
            line = (
                f"sent {sent_count:,}  received {totals['received']:,}  delivered {totals['delivered']:,}  dropped "
                f"{totals['dropped']:,}  dead-lettered {totals['dead_lettered']:,}  in flight {totals['in_flight']:,}"
            )
            self._console.progress(line)
        return state


@click.command("demo")
@click.option("--rate", default=2000, show_default=True, type=click.IntRange(1, 20000), help="Events a second.")
@click.option("--seconds", default=8, show_default=True, type=click.IntRange(1, 600), help="How long traffic comes.")
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same traffic.")
@click.option("--json", "as_json", is_flag=True, help="The closing state as JSON on standard output.")
def command(rate: int, seconds: int, seed: int, as_json: bool) -> int:
    """Run everything here: a mock Kafka cluster, a private Redis, realistic traffic and the real daemon.

    Needs no broker, no root and no fixed port. Ends by itself with the books, one request and one trace read back from
    Redis. Exit 1 if the books do not balance or something is missing.
    """
    if rate * seconds > RECORDS_MAX:
        raise click.UsageError(
            f"--rate times --seconds is {rate * seconds:,}; the mock Kafka keeps about {RECORDS_MAX:,} "
            "records: lower one of them"
        )
    console = Output(to_stderr=as_json)
    with tempfile.TemporaryDirectory(prefix="ingestd-demo-") as name:
        closing, wrong = Demo(rate, seconds, seed, console).run(Path(name))
    if as_json:
        write_json(closing)
    if wrong:
        return 1
    console.line("Every event reached its end, and is where it belongs.")
    return 0
