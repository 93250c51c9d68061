"""Events for load. A seed and a number in; JSON bytes of about 500 bytes out, and what must be found of each. Pure.

60 % logs, 20 % metrics, 14 % traces, 3 % alerts, 3 % health; seven of ten carry a correlation id, five events share one.
"""

import json
import random
from typing import NamedTuple

SERVICES = ("checkout", "payments", "inventory", "gateway", "search", "mailer")
COMPONENTS = ("api", "worker", "db", "cache", "scheduler")
TYPES = ("log",) * 60 + ("metric",) * 20 + ("trace",) * 14 + ("alert",) * 3 + ("health",) * 3
LEVELS = ("debug",) * 10 + ("info",) * 70 + ("warning",) * 12 + ("error",) * 7 + ("fatal",) * 1
FILLER = "the order was accepted and handed to the next stage; the customer was told, the stock was put aside. "


class Made(NamedTuple):
    """One event with what routing and indexing must make of it."""

    payload: bytes
    id: str
    type: str
    level: str
    correlation_id: str
    trace_id: str
    span_id: str


def make(index: int, seed: int = 1, size_bytes: int = 500) -> Made:
    """Event number `index`: the same for the same seed, on every machine."""
    source = random.Random(seed * 1_000_003 + index)
    kind, level = TYPES[index % 100], source.choice(LEVELS)
    group = index // 5
    ident = f"{seed:08x}-cd61-4e30-98f1-{index:012x}"
    correlation = f"00000000-0000-4000-8000-{group:012x}" if group % 10 < 7 else ""
    trace = f"{seed:08x}{'6c0fd4f5f813'}{group:012x}" if kind == "trace" or index % 3 == 0 else ""
    span = f"{index:016x}" if kind == "trace" else ""
    event = {
        "id": ident, "type": kind, "level": level, "service": source.choice(SERVICES),
        "component": source.choice(COMPONENTS), "message": "",
        "timestamp": f"2026-11-24T09:{index // 60 % 60:02d}:{index % 60:02d}.{source.randrange(10**9):09d}Z",
        "labels": {"env": "prod", "region": "eu-west-1"}, "metadata": {"host": f"node-{index % 40}", "attempt": 1},
    }
    for key, value in (("correlation_id", correlation), ("trace_id", trace), ("span_id", span)):
        if value:
            event[key] = value
    spare = size_bytes - len(json.dumps(event, separators=(",", ":")))
    event["message"] = (FILLER * (1 + max(0, spare) // len(FILLER)))[:max(0, spare)]
    return Made(json.dumps(event, separators=(",", ":")).encode(), ident, kind, level, correlation, trace, span)
