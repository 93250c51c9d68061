"""Where the example runs: a mock Kafka, a private Redis and the real daemon. A folder in; addresses out.

With brokers and a Redis of your own, none of this is needed: `ingestd run -c config.yaml`, and the rest of the example.
"""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from ingestd.cli.demo.mock_cluster import MockClusterProcess
from ingestd.cli.demo.private_redis import PrivateRedis
from ingestd.config.loading import parse
from ingestd.config.schema import Config, TopicsConfig

TOPICS = TopicsConfig()
PAGER_TOPIC = "team.payments.pager"
ALL_TOPICS = (
    TOPICS.observability_events, TOPICS.logs, TOPICS.metrics, TOPICS.alerts, TOPICS.traces, TOPICS.health_checks,
    TOPICS.dead_letter, PAGER_TOPIC,
)  # fmt: skip
PARTITIONS = 2
WAIT_S = 30.0


def wait_until(probe: Callable[[], Any], what: str) -> Any:
    """What `probe` gives, when it gives something."""
    deadline_s = time.monotonic() + WAIT_S
    while not (found := probe()):
        if time.monotonic() > deadline_s:
            raise SystemExit(f"not within {WAIT_S:.0f} s: {what}")
        time.sleep(0.05)
    return found


def config_of(bootstrap: str, redis_url: str, control_socket: str) -> dict[str, Any]:
    """The daemon's config.yaml, which the client library reads too: each program has its name from $SERVICE_NAME."""
    return {
        "kafka": {"brokers": [bootstrap]},
        "redis": {"url": redis_url},
        "observability": {"event_streaming": {"service_name": "${SERVICE_NAME:-pipeline}", "trace_sampling_rate": 1.0}},
        "health": {"interval_s": 1},
        "http": {"listen": None},
        "pipeline": {"commit_interval_ms": 200},
        "control": {"socket": control_socket},
        "logging": {"format": "plain"},
        # The last key, so that another rule is a line at the end of the file.
        "rules": [
            # Filtering: noise is not stored and not routed. Routing: a copy of what the payments team is woken for.
            {"name": "no debug logs", "match": {"types": ["log"], "levels": ["debug"]}, "action": "drop"},
            {
                "name": "wake payments",
                "match": {"services": ["payments"], "levels": ["error", "fatal"]},
                "action": "copy",
                "topics": [PAGER_TOPIC],
            },
        ],
    }


class Stack:
    """What runs."""

    def __init__(self, bootstrap: str, redis_url: str, config_path: Path, books: Path) -> None:
        self.bootstrap, self.redis_url, self.config_path = bootstrap, redis_url, config_path
        self._books = books

    @property
    def config(self) -> Config:
        return parse(self.config_path.read_text())

    def books(self) -> dict[str, int]:
        """What the daemon has done so far with the events of its input."""
        try:
            state = json.loads(self._books.read_text())
        except FileNotFoundError:
            return {}
        return dict(state["books"].get(TOPICS.observability_events, {}))

    def wait_done(self, received_count: int) -> dict[str, int]:
        """Until the daemon has finished so many events."""

        def done() -> dict[str, int]:
            books = self.books()
            return books if books.get("received", 0) >= received_count and not books["in_flight"] else {}

        found: dict[str, int] = wait_until(done, f"the daemon has finished {received_count} events")
        return found


@contextlib.contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """Starts everything in the order in which it is needed, and stops it in the other one."""
    with contextlib.ExitStack() as cleanup:
        cluster = MockClusterProcess(dict.fromkeys(ALL_TOPICS, PARTITIONS))
        cleanup.callback(cluster.stop)
        server = PrivateRedis(folder)
        cleanup.callback(server.stop)
        config_path, books, log = folder / "config.yaml", folder / "books.json", folder / "daemon.log"
        config = config_of(cluster.bootstrap, server.url, str(folder / "control.sock"))
        config_path.write_text(yaml.safe_dump(config, sort_keys=False, width=120))
        words = [sys.executable, "-m", "ingestd", "run", "-c", str(config_path), "--books-file", str(books)]
        with open(log, "wb") as output:
            # In a session of its own: Ctrl-C reaches the example alone, which then stops the daemon in order.
            daemon = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        cleanup.callback(stop, daemon)

        def joined() -> bool:
            if daemon.poll() is not None:
                raise SystemExit(f"the daemon ended by itself:\n{log.read_text()[-2000:]}")
            return books.exists() and bool(json.loads(books.read_text())["joined"])

        wait_until(joined, "the daemon has joined its group")
        yield Stack(cluster.bootstrap, server.url, config_path, books)


def stop(daemon: subprocess.Popen[bytes]) -> None:
    if daemon.poll() is None:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait(10)
