"""The daemon's status: figures for Prometheus, `/status` as JSON, and whether it is ready."""

import platform
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import confluent_kafka
import msgspec
from aiohttp import web

from .. import __version__
from ..events.vocabulary import Fault
from ..pipeline.sinks.kafka import SILENCE_MAX_S
from .components import Components
from .health import PartitionLag, Status
from .prometheus import Exposition, Sample

VERSIONS = {
    "version": __version__,
    "python": platform.python_version(),
    "librdkafka": confluent_kafka.libversion()[0],
}
FAULTS = [fault.name.lower() for fault in Fault if fault is not Fault.NONE]
HEALTH_NUMBERS = {Status.HEALTHY: 0, Status.DEGRADED: 1, Status.UNHEALTHY: 2}


def run_queue_ns() -> int:
    """How long this thread has stood in a processor's queue; 0 where the kernel does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0


class Overview:
    """Runs on: the loop, when somebody asks; nothing here costs an event anything.

    lag: of the partitions that are owned; health: the last status by component; identity: host, instance, group.
    """

    def __init__(
        self,
        components: Components,
        lag: Callable[[], list[PartitionLag]],
        health: Mapping[str, Status],
        is_stopping: Callable[[], bool],
        identity: dict[str, str],
    ) -> None:
        self._components = components
        self._lag = lag
        self._health = health
        self._is_stopping = is_stopping
        self._identity = identity
        self._started_s = time.monotonic()

    def unready(self) -> list[str]:
        """Why no events can pass now, in words; nothing: they can."""
        components, reasons = self._components, []
        if self._is_stopping():
            reasons.append("the daemon is stopping")
        if not components.source.joined:
            reasons.append("the group has given no assignment yet")
        if not components.redis.connected:
            reasons.append("redis is not connected")
        if not components.kafka.connected:
            silent_s = components.kafka.silent_s
            silent = f"kafka has acknowledged nothing for {silent_s:.0f} s"
            reasons.append(silent if silent_s >= SILENCE_MAX_S else "kafka does not answer")
        return reasons

    def figures(self) -> dict[str, list[Sample]]:
        """Samples by metric name, of all that is not counted in `Counters`."""
        components, lag, books = self._components, self._lag(), self._components.books.as_dict()
        engine, limits = components.engine, components.engine.limits
        return {
            "ingestd_events_received_total": [((topic,), row["received"]) for topic, row in books.items()],
            "ingestd_events_delivered_total": [((topic,), row["delivered"]) for topic, row in books.items()],
            "ingestd_events_abandoned_total": [((), components.books.total("abandoned"))],
            "ingestd_dead_letters_total": self._with_zeros("ingestd_dead_letters_total", FAULTS),
            "ingestd_records_missed_total": self._with_zeros("ingestd_records_missed_total", books),
            "ingestd_error_events_total": _summed(engine.errors.rows()),
            "ingestd_batches_total": [((), engine.batch_count)],
            "ingestd_kafka_consumer_lag_records": [((row.topic, str(row.partition)), row.records) for row in lag],
            "ingestd_kafka_consumer_lag_seconds": [((row.topic, str(row.partition)), row.seconds) for row in lag],
            "ingestd_assigned_partitions": [((), len(components.ledger.partitions()))],
            "ingestd_joined": [((), components.source.joined)],
            "ingestd_sink_connected": [
                (("kafka",), components.kafka.connected),
                (("redis",), components.redis.connected),
            ],
            "ingestd_sink_open_batches": [
                (("kafka",), components.kafka.open_count),
                (("redis",), components.redis.waiting_count),
            ],
            "ingestd_in_flight_events": [((), engine.in_flight_events)],
            "ingestd_in_flight_events_max": [((), limits.in_flight_events_max)],
            "ingestd_buffer_bytes": [((), engine.held_bytes)],
            "ingestd_buffer_bytes_max": [((), limits.held_bytes_max)],
            "ingestd_holding_back": [((), engine.holding_back)],
            "ingestd_loop_seconds_total": [((name,), s) for name, s in components.counters.phases.seconds().items()],
            "ingestd_loop_cpu_wait_seconds_total": [((), components.counters.phases.ready_s())],
            "ingestd_books_balanced": [((), components.books.balances())],
            "ingestd_component_health": [((name,), HEALTH_NUMBERS[status]) for name, status in self._health.items()],
            "ingestd_build_info": [(tuple(VERSIONS.values()), 1)],
        }

    def _with_zeros(self, metric: str, names: Iterable[str]) -> list[Sample]:
        """What was counted, and 0 for what was not yet: an alert does not see a series begin above 0."""
        return list(
            (dict.fromkeys(((name,) for name in names), 0) | dict(self._components.counters.samples(metric))).items()
        )

    def as_dict(self) -> dict[str, Any]:
        """All of it, for people and for `top`."""
        components, engine = self._components, self._components.engine
        facts, reasons = components.redis.facts, self.unready()
        return {
            **VERSIONS,
            **self._identity,
            "uptime_s": round(time.monotonic() - self._started_s, 3),
            "ready": not reasons,
            "unready": reasons,
            "books": components.books.as_dict(),
            "balanced": components.books.balances(),
            "partitions": [row.as_dict() for row in self._lag()],
            "assigned_partitions": len(components.ledger.partitions()),
            "sinks": {
                "kafka": {
                    "connected": components.kafka.connected,
                    "open_batches": components.kafka.open_count,
                    "queued_records": components.kafka.queue_length,
                    "silent_s": round(components.kafka.silent_s, 3),
                    "renewed_after_fatal_errors": components.kafka.was_fatal,
                    **self._acknowledged("kafka"),
                },
                "redis": {
                    "connected": components.redis.connected,
                    "open_batches": components.redis.waiting_count,
                    "server_version": facts.version if facts else None,
                    "identity_changes": components.redis.identity_changes,
                    **self._acknowledged("redis"),
                },
            },
            "health": {name: status.value for name, status in self._health.items()},
            "in_flight_events": engine.in_flight_events,
            "buffer_bytes": engine.held_bytes,
            "open_batches": engine.open_batches,
            "batches": engine.batch_count,
            "limits": engine.limits._asdict() | {"open_batches_max": engine.limits.open_batches_max},
            "held_back": {
                "by": engine.held_back_by(),
                "open_batches_wait_for": self._awaited(),
                "samples": engine.samples,
                "by_sink": dict(engine.held_back_samples),
            },
            "rules": engine.table.rule_count,
            "taps": engine.table.tap_count,
            "loop_seconds": components.counters.phases.seconds(),
            "loop_cpu_wait_seconds": components.counters.phases.ready_s(),
            "errors": [dict(zip(("service", "level", "count"), row, strict=True)) for row in engine.errors.rows()],
            "counters": components.counters.as_dict(),
        }

    def _acknowledged(self, sink: str) -> dict[str, float]:
        """What `ingestd_sink_seconds` has: two of these give the mean between them."""
        histogram = self._components.counters.histogram("ingestd_sink_seconds", sink)
        return {"acknowledged_batches": histogram.count, "acknowledged_seconds": round(histogram.total, 6)}

    def _awaited(self) -> list[str]:
        """The sinks that open batches wait for."""
        waiting = {"kafka": self._components.kafka.open_count, "redis": self._components.redis.waiting_count}
        return [name for name, count in waiting.items() if count]


def _summed(rows: list[tuple[str, str, int]]) -> list[Sample]:
    """One sample a label set: a service may call itself other, and names that are no UTF-8 may look alike."""
    found: dict[tuple[str, ...], float] = {}
    for service, level, count in rows:
        found[service, level] = found.get((service, level), 0) + count
    return list(found.items())


def routes(overview: Overview, exposition: Exposition) -> list[web.RouteDef]:
    """Of the endpoint that `http.listen` opens. Nothing here changes anything."""

    async def ping(request: web.Request) -> web.Response:
        return web.Response(text="pong\n")

    async def ready(request: web.Request) -> web.Response:
        reasons = overview.unready()
        return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def metrics(request: web.Request) -> web.Response:
        body, content_type = exposition.render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def version(request: web.Request) -> web.Response:
        return _json(VERSIONS)

    async def status(request: web.Request) -> web.Response:
        return _json(overview.as_dict())

    handlers = (ping, ready, metrics, version, status)
    found = [web.get(f"/{handler.__name__}", handler) for handler in handlers]

    async def index(request: web.Request) -> web.Response:
        return web.Response(text="".join(f"{route.path}\n" for route in found))

    return [*found, web.get("/", index)]


def _json(value: object, status: int = 200) -> web.Response:
    body = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")
