"""What every verb of the command line can be called on: a daemon on the mock cluster, with events that pass."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.daemon_process import INPUT, DaemonProcess
from tests.support.harness import event, mock_cluster, publish
from tests.support.redis_node import RedisNode
from tests.support.wait import wait_until

MESSAGE = "grüße → ✓ 服务 [bold]not markup[/] :smile: \x1b[2J"
CORRELATION, TRACE = "c" * 32, "d" * 32
SERVICE = "payments-of-the-shop"


class World:
    """`words` is every verb with words that make it end well. Nothing in them needs the cluster's controller."""

    def __init__(self, folder: Path, daemon: DaemonProcess) -> None:
        self.folder, self.daemon = folder, daemon
        config = ("-c", str(daemon.config_path))
        events = folder / "events.jsonl"
        events.write_bytes(event("t1", message=MESSAGE, service=SERVICE) + b"\n" + b"{\xff\n")
        old = folder / "old.yaml"
        old.write_text('kafka: {bootstrap_servers: "k:9092", nothing: 1}\nservice: grüße\n', encoding="utf-8")
        self.words: dict[str, tuple[str, ...]] = {
            "validate": ("validate", "--offline", *config),
            "test": ("test", str(events), *config),
            "top": ("top", "--times", "2", "--interval", "0.2", *config),
            "tap": ("tap", "--count", "2", *config),
            "reload": ("reload", *config),
            "lag": ("lag", *config),
            "events get": ("events", "get", "kept", *config),
            "events correlated": ("events", "correlated", CORRELATION, *config),
            "events trace": ("events", "trace", TRACE, *config),
            "migrate-config": ("migrate-config", str(old)),
            "compare": ("compare", "--pair", f"{INPUT}={INPUT}", "--since", "1h", "--until", "0s", *config),
            "help": ("--help",),
        }

    def with_json(self) -> dict[str, tuple[str, ...]]:
        return {
            name: (*words, "--json") for name, words in self.words.items() if name not in ("help", "migrate-config")
        }


def trace_events() -> list[bytes]:
    made = []
    for number, parent in enumerate((None, "s0", "s1")):
        fields = {"trace_id": TRACE, "span_id": f"s{number}", "correlation_id": CORRELATION}
        if parent:
            fields["metadata"] = {"parent_span_id": parent}
        fields |= {"type": "trace", "service": SERVICE, "component": "gateway-adapter", "data": {"duration_ms": 5}}
        made.append(
            event(f"trace{number}", message=f"step {number}", timestamp=f"2026-11-24T09:12:01.00{number}Z", **fields)
        )
    return made


@contextmanager
def built(folder: Path) -> Iterator[World]:
    cluster = mock_cluster(partitions=2)
    redis = RedisNode(folder / "redis", keep_data=True).start()
    daemon = DaemonProcess(
        folder / "daemon", cluster.bootstraps, redis.url, control={"socket": str(folder / "c.sock")}
    ).start()
    ended = threading.Event()

    def feed() -> None:
        while not ended.wait(0.05):
            publish(cluster, [event(f"n{time.monotonic_ns()}", message=MESSAGE, service=SERVICE)])

    thread = threading.Thread(target=feed)
    try:
        daemon.wait_joined()
        publish(cluster, [event("kept", message=MESSAGE, service=SERVICE, correlation_id=CORRELATION), *trace_events()])
        wait_until(lambda: daemon.column("delivered") >= 4, "the events are stored")
        thread.start()
        yield World(folder, daemon)
    finally:
        ended.set()
        if thread.ident is not None:
            thread.join()
        daemon.kill()
        redis.stop()
        cluster.close()


def json_values(text: str) -> list[object]:
    """One document, or one a line; fails where anything else stands in it."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]
