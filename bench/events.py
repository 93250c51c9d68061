"""Events for load. A seed and a number in; JSON bytes of about 500 bytes out, and what must be found of each. Pure.

60 % logs, 20 % metrics, 14 % traces, 3 % alerts, 3 % health; seven of ten carry a correlation id, which five share.
"""

import hashlib
import json
import random
import uuid
from typing import NamedTuple

SERVICES = ("checkout", "payments", "inventory", "gateway", "search", "mailer")
COMPONENTS = ("api", "worker", "db", "cache", "scheduler")
TYPES = ("log",) * 60 + ("metric",) * 20 + ("trace",) * 14 + ("alert",) * 3 + ("health",) * 3
LEVELS = ("debug",) * 10 + ("info",) * 70 + ("warning",) * 12 + ("error",) * 7 + ("fatal",) * 1
# What messages are made of. Real ones compress about 2.5 times with lz4 in a batch, and so do these: a filler that
# repeats would compress 11 times, and make everything but the decoding of an event look free.
WORDS = (
    "order",
    "accepted",
    "customer",
    "stock",
    "reserved",
    "timeout",
    "retry",
    "upstream",
    "connection",
    "reset",
    "pool",
    "exhausted",
    "cache",
    "miss",
    "lookup",
    "session",
    "expired",
    "token",
    "refresh",
    "payment",
    "declined",
    "gateway",
    "latency",
    "above",
    "threshold",
    "queue",
    "depth",
    "worker",
    "restarted",
    "shard",
    "rebalanced",
    "index",
    "rebuilt",
    "snapshot",
    "written",
    "replica",
    "lagging",
    "checksum",
    "verified",
    "cart",
    "updated",
    "address",
    "invalid",
)


class Made(NamedTuple):
    """One event with what routing and indexing must make of it."""

    payload: bytes
    id: str
    type: str
    level: str
    correlation_id: str
    trace_id: str
    span_id: str


def identifier(*parts: object) -> str:
    """32 hex digits that look random and are the same on every machine."""
    return hashlib.blake2b(":".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def make(index: int, seed: int = 1, size_bytes: int = 500) -> Made:
    """Event number `index`: the same for the same seed, on every machine."""
    source = random.Random(seed * 1_000_003 + index)
    kind, level = TYPES[index % 100], source.choice(LEVELS)
    group = index // 5
    ident = str(uuid.UUID(identifier(seed, "event", index)))
    correlation = str(uuid.UUID(identifier(seed, "request", group))) if group % 10 < 7 else ""
    trace = identifier(seed, "trace", group) if kind == "trace" or index % 3 == 0 else ""
    span = identifier(seed, "span", index)[:16] if kind == "trace" else ""
    event = {
        "id": ident,
        "type": kind,
        "level": level,
        "service": source.choice(SERVICES),
        "component": source.choice(COMPONENTS),
        "message": "",
        "timestamp": f"2026-11-24T09:{index // 60 % 60:02d}:{index % 60:02d}.{source.randrange(10**9):09d}Z",
        "labels": {"env": "prod", "region": "eu-west-1"},
        "metadata": {"host": f"node-{index % 40}", "attempt": 1},
    }
    for key, value in (("correlation_id", correlation), ("trace_id", trace), ("span_id", span)):
        if value:
            event[key] = value
    spare = max(0, size_bytes - len(json.dumps(event, separators=(",", ":"))))
    words: list[str] = []
    left = spare
    while left > 0:
        word = source.choice(WORDS) if source.random() < 0.8 else str(source.randrange(1_000_000))
        words.append(word)
        left -= len(word) + 1
    event["message"] = " ".join(words)[:spare]
    return Made(json.dumps(event, separators=(",", ":")).encode(), ident, kind, level, correlation, trace, span)
