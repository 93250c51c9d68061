"""`python -m bench.look_up`: what finding a group costs in a large store, against reading as many keys without looking.

Goal: the ratio of a look-up to one pipelined GET of the same keys, medians of one run, in turn; bound: 3 for a group of
100. Not a goal: the speed of Redis, or of its connection (both sides have the same).
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import events
from ingestd.cli.demo.private_redis import PrivateRedis
from ingestd.client.lookup.store import AsyncEventStore, EventStore
from tests.support.stored import Loader

GROUP_EVENTS = 100
RATIO_MAX = 3.0
TEMPLATES = 2000
CHUNK_EVENTS = 20_000


def payloads(count: int) -> Iterator[bytes]:
    """Events of about 500 bytes, of all types; GROUP_EVENTS share a correlation, and ten of them in turn a trace."""
    made = []
    for index in range(min(count, TEMPLATES)):
        event = json.loads(events.make(index).payload)
        event |= {"id": "@id@", "correlation_id": "@group@", "trace_id": "@trace@"}
        event["message"] = event["message"][:-60]
        made.append(json.dumps(event, separators=(",", ":")).encode())
    for index in range(count):
        group = index // GROUP_EVENTS
        yield (
            made[index % len(made)]
            .replace(b"@id@", b"00000000-0000-4000-8000-%012x" % index)
            .replace(b"@group@", correlation(group).encode())
            .replace(b"@trace@", b"%032x" % (index // 10 + 1))
        )


def correlation(group: int) -> str:
    return f"11111111-1111-4111-8111-{group:012x}"


def median_us(calls: list[Callable[[], Any]]) -> float:
    took = []
    for call in calls:
        begun_ns = time.perf_counter_ns()
        call()
        took.append(time.perf_counter_ns() - begun_ns)
    return statistics.median(took) / 1000


class Sides:
    """The same groups, found and read."""

    def __init__(self, url: str, groups: list[int]) -> None:
        self.client = redis.Redis.from_url(url)
        self.store = EventStore(url)
        self.groups = groups
        self.keys = {group: self._keys(group) for group in groups}

    def _keys(self, group: int) -> list[bytes]:
        """One key an event: a trace event has a second member that is the same event."""
        members = self.client.zrange(f"correlation_index:{correlation(group)}", 0, -1)
        keys = [key for key in members if not key.startswith(b"events:trace:")]
        assert len(keys) == GROUP_EVENTS, len(keys)
        return keys

    def read(self, group: int) -> None:
        pipe = self.client.pipeline(transaction=False)
        for key in self.keys[group]:
            pipe.get(key)
        assert None not in pipe.execute()

    def find(self, group: int) -> None:
        assert len(self.store.correlated(correlation(group))) == GROUP_EVENTS

    def trace(self, group: int) -> None:
        assert self.store.trace(f"{group * GROUP_EVENTS // 10 + 1:032x}")

    def get(self, group: int) -> None:
        assert self.store.get(f"00000000-0000-4000-8000-{group * GROUP_EVENTS:012x}")

    def find_errors(self, group: int) -> None:
        self.store.correlated(correlation(group), levels=["error", "fatal"])

    def find_async(self, url: str) -> float:
        async def run() -> float:
            took = []
            async with AsyncEventStore(url) as store:
                for group in self.groups:
                    begun_ns = time.perf_counter_ns()
                    assert len(await store.correlated(correlation(group))) == GROUP_EVENTS
                    took.append(time.perf_counter_ns() - begun_ns)
            return statistics.median(took) / 1000

        return asyncio.run(run())

    def close(self) -> None:
        self.store.close()
        self.client.close()


def measure(url: str, event_count: int, rounds: int) -> dict[str, float]:
    """Medians in µs, a look-up."""
    last = event_count // GROUP_EVENTS
    groups = [int(number * last / rounds) for number in range(rounds)]
    sides = Sides(url, groups)
    for group in groups[:20]:  # connections are made, code is warm
        sides.read(group)
        sides.find(group)
    pairs = [
        (median_us([lambda group=group: sides.read(group)]), median_us([lambda group=group: sides.find(group)]))
        for group in groups
    ]
    found = {
        f"pipelined GET of {GROUP_EVENTS} keys": statistics.median(read for read, _ in pairs),
        f"correlated: {GROUP_EVENTS} events": statistics.median(find for _, find in pairs),
        "the same, async": sides.find_async(url),
        "the same, errors only": median_us([lambda group=group: sides.find_errors(group) for group in groups]),
        "trace: 10 events, the tree": median_us([lambda group=group: sides.trace(group) for group in groups]),
        "get: one event": median_us([lambda group=group: sides.get(group) for group in groups]),
    }
    sides.close()
    return found


def run(event_count: int, rounds: int, console: Console) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="ingestd-bench-") as name:
        server = PrivateRedis(Path(name))
        try:
            loader = Loader(server.socket)
            made = payloads(event_count)
            begun_s = time.monotonic()
            for begin in track(range(0, event_count, CHUNK_EVENTS), "storing events", console=console, transient=True):
                loader.store(next(made) for _ in range(min(CHUNK_EVENTS, event_count - begin)))
            loaded_s = time.monotonic() - begun_s
            loader.close()
            with redis.Redis(unix_socket_path=str(server.socket)) as client:
                memory_mib = client.info("memory")["used_memory"] / (1 << 20)
                key_count = client.dbsize()
            median = measure(server.url, event_count, rounds)
        finally:
            server.stop()
    read, find, *_ = median.values()
    return {
        "events": event_count,
        "keys": key_count,
        "redis_mib": round(memory_mib),
        "loaded_s": round(loaded_s, 1),
        "rounds": rounds,
        "median_us": {name: round(value, 1) for name, value in median.items()},
        "ratio": round(find / read, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="stored events (default: %(default)s; 1.9 GB)")
    parser.add_argument("--rounds", type=int, default=300, help="groups that are looked up (default: %(default)s)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    result = run(options.events, options.rounds, console)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        table = Table(
            title=f"{result['events']:,} events, {result['keys']:,} keys, {result['redis_mib']:,} MiB in Redis"
        )
        table.add_column("look-up")
        table.add_column("median, µs", justify="right")
        for name, value in result["median_us"].items():
            table.add_row(name, f"{value:,.0f}")
        console.print(table)
        console.print(f"ratio of correlated to pipelined GET: {result['ratio']:.2f} (bound: {RATIO_MAX})")
    return 0 if result["ratio"] <= RATIO_MAX else 1


if __name__ == "__main__":
    raise SystemExit(main())
