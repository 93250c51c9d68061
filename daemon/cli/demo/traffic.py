"""The demo's traffic: records from a seed, and what must be found of them afterwards. Pure.

A request crosses three services: each writes logs and a span, all carry the request's correlation id and trace id.
Metrics and health come beside, an alert when a request fails, and now and then something that is no event.
"""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

# Service, the operation of its span, and of the request's time the part at which it begins and the part that it takes.
PATH = (
    ("gateway", "POST /orders", 0.0, 1.0),
    ("checkout", "place order", 0.1, 0.85),
    ("payments", "charge card", 0.35, 0.5),
)
BAD = (
    ("cut JSON", b'{"id": "cut", "type": "log", "level": "in'),
    ("no type", b'{"id": "x", "level": "info", "message": "whose am I?"}'),
    ("a level nobody knows", b'{"id": "x", "type": "log", "level": "loud"}'),
    ("a timestamp of another form", b'{"id": "x", "type": "log", "level": "info", "timestamp": "yesterday"}'),
    ("invalid UTF-8", b'{"id": "x", "type": "log", "level": "info", "message": "\xff\xfe"}'),
)
BAD_EVERY = 61  # one request in so many is followed by something bad
FAIL_EVERY = 17  # one request in so many fails


class Record(NamedTuple):
    """One record to publish, and what it is: its type, or `bad`."""

    payload: bytes
    key: bytes | None
    kind: str
    dropped: bool = False  # the demo's rule drops it


class Request(NamedTuple):
    """What must be found of one request."""

    correlation_id: str
    trace_id: str
    event_ids: frozenset[str]
    span_ids: tuple[str, ...]


class Traffic:
    """An endless stream. The same seed gives the same stream but for the times."""

    def __init__(self, seed: int, started: datetime) -> None:
        self._random = random.Random(seed)
        self._now = started
        self._number = 0
        self.last_request: Request | None = None

    def _hex(self, digits: int) -> str:
        return f"{self._random.getrandbits(4 * digits):0{digits}x}"

    def _event(
        self,
        kind: str,
        level: str,
        service: str,
        component: str,
        message: str,
        time: datetime | None = None,
        **more: object,
    ) -> dict:
        """`time`: when it happened, else now. Now goes on by a moment with each event."""
        self._now += timedelta(microseconds=self._random.randrange(50, 900))
        return {
            "id": self._hex(32),
            "type": kind,
            "level": level,
            "service": service,
            "component": component,
            "message": message,
            "timestamp": (time or self._now).astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "labels": {"env": "demo", "region": "eu-west-1"},
            **more,
        }

    def records(self) -> Iterator[Record]:
        """Requests one after the other, with what comes beside them."""
        while True:
            self._number += 1
            yield from self._request(fails=self._number % FAIL_EVERY == 0)
            for service, *_ in PATH:
                gauge = self._random.random()
                metric = self._event(
                    "metric",
                    "info",
                    service,
                    "runtime",
                    f"Metric: cpu = {gauge:.3f}",
                    data={"metric_name": "cpu", "value": round(gauge, 3)},
                )
                yield self._record(metric)
            if self._number % 20 == 0:
                yield self._record(
                    self._event(
                        "health", "info", "gateway", "api", "Health check: api is healthy", data={"status": "healthy"}
                    )
                )
            if self._number % BAD_EVERY == 0:
                _, payload = BAD[self._number // BAD_EVERY % len(BAD)]
                yield Record(payload, None, "bad")

    def _record(self, event: dict, key: str | None = None) -> Record:
        dropped = event["type"] == "log" and event["level"] == "debug"
        return Record(json.dumps(event).encode(), key.encode() if key else None, event["type"], dropped)

    def _request(self, fails: bool) -> Iterator[Record]:
        correlation, trace = self._hex(32), self._hex(32)
        begun, whole_ms = self._now, self._random.lognormvariate(4, 0.6)
        found, spans, parent = set(), [], None
        for service, operation, begins, takes in PATH:
            common = {"correlation_id": correlation, "trace_id": trace}
            span = self._hex(16)
            broken = fails and service == "payments"
            start = begun + timedelta(milliseconds=whole_ms * begins)
            end = start + timedelta(milliseconds=whole_ms * takes)
            debug = self._event("log", "debug", service, "api", f"{operation}: begun", time=start, **common)
            yield self._record(debug, correlation)
            log = self._event(
                "log",
                "error" if broken else "info",
                service,
                "api",
                f"{operation}: {'card refused' if broken else 'done'}",
                time=end,
                **common,
            )
            found.add(log["id"])
            yield self._record(log, correlation)
            metadata = {"parent_span_id": parent} if parent else {}
            done = self._event(
                "trace",
                "error" if broken else "info",
                service,
                "tracing",
                operation,
                time=end,
                span_id=span,
                metadata=metadata,
                data={"operation": operation, "duration_ms": round(whole_ms * takes, 2)},
                **common,
            )
            found.add(done["id"])
            spans.append(span)
            yield self._record(done, correlation)
            parent = span
        if fails:
            alert = self._event(
                "alert",
                "error",
                "payments",
                "alerting",
                "card refusals above normal",
                time=end,
                correlation_id=correlation,
                data={"alert_id": self._hex(8), "alert_name": "CardRefused"},
            )
            found.add(alert["id"])
            yield self._record(alert, correlation)
        self.last_request = Request(correlation, trace, frozenset(found), tuple(spans))
