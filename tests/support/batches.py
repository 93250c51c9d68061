"""Random batches for property tests. Draws of hypothesis or of a seeded Random in; records, rules and settings out.

Names are drawn from small pools, so that events meet: the same ids, the same index keys, rules that match.
"""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from ingestd.events.rules import CompiledRule, sample_threshold
from ingestd.events.vocabulary import LEVEL_NAMES, TYPE_NAMES, Action, PartitionBy
from tests.support import shapes
from tests.support.fastpath import EVENT_BYTES_MAX, TIMESTAMP_MS
from tests.support.model import Record

NAMES = ("", "a", "b", "a:b", "é😀", "x\r\n\0", "4bf92f3577b34da6a3ce929d0e0e4736", "long " * 40)
# Small ones of each kind. None is nested near the depth at which the interpreter's own stack begins to count.
SMALL_SHAPES = tuple(shape.payload for shape in shapes.ALL if len(shape.payload or b"") < 6000)
TYPES = st.sampled_from((*TYPE_NAMES, *TYPE_NAMES, "error", "Log", ""))
LEVELS = st.sampled_from((*LEVEL_NAMES, *LEVEL_NAMES, "WARN", "Critical", "loud"))
NEARLY_RFC_3339 = r"[012]\d\d\d-[01]\d-[0-3]\d[Tt][0-2]\d:[0-6]\d:[0-6]\d(\.\d{1,12})?([Zz]|[+-][0-2]\d:[0-6]\d)"
TIMES = st.one_of(
    st.sampled_from(shapes.GOOD_TIMES),
    st.sampled_from(shapes.BAD_TIMES),
    st.datetimes().map(lambda time: time.isoformat() + "Z"),
    st.from_regex(NEARLY_RFC_3339, fullmatch=True),
)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=5,
)


def text() -> st.SearchStrategy[str | None]:
    return st.sampled_from(NAMES) | st.none()


def carriers() -> st.SearchStrategy[Any]:
    """labels or metadata."""
    keys = st.sampled_from(("correlation_id", "env", "zone", "é"))
    return st.none() | st.dictionaries(keys, st.sampled_from(NAMES) | JSON_VALUES, max_size=3)


@st.composite
def payloads(draw: st.DrawFn) -> bytes | None:
    """Mostly good events; now and then a shape, or an event with a field of another type."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(SMALL_SHAPES))
    fields = {
        "id": text(),
        "service": text(),
        "component": text(),
        "message": text(),
        "correlation_id": text(),
        "trace_id": text(),
        "span_id": text(),
        "timestamp": TIMES,
        "labels": carriers(),
        "metadata": carriers(),
        "data": JSON_VALUES,
        "unknown": JSON_VALUES,
    }
    chosen = draw(st.sets(st.sampled_from(sorted(fields)), max_size=len(fields)))
    event = {"type": draw(TYPES), "level": draw(LEVELS)} | {name: draw(fields[name]) for name in sorted(chosen)}
    if draw(st.integers(0, 19)) == 0:
        event[draw(st.sampled_from(sorted(event)))] = draw(JSON_VALUES)
    names = draw(st.permutations(sorted(event)))
    return json.dumps({name: event[name] for name in names}, ensure_ascii=draw(st.booleans())).encode()


HEADERS = st.none() | st.lists(
    st.tuples(
        st.sampled_from(("X-Correlation-ID", "correlation_id", "x-correlation-id", "other")),
        st.sampled_from((b"", b"a", b"\xff", "é😀".encode(), b"long " * 40)),
    ),
    max_size=3,
)


@st.composite
def batches(draw: st.DrawFn, records_max: int = 12) -> list[Record]:
    """Records of a few partitions, each with its offsets going up, with gaps."""
    records, next_offsets = [], {}
    for payload in draw(st.lists(payloads(), max_size=records_max)):
        topic_index, partition = draw(st.sampled_from(((0, 0), (0, 1), (1, 0), (2, 7))))
        offset = next_offsets.get((topic_index, partition), 0) + draw(st.integers(0, 2))
        next_offsets[topic_index, partition] = offset + 1
        timestamp_ms = draw(st.sampled_from((-1, 0, TIMESTAMP_MS, TIMESTAMP_MS + 7_200_000)))
        headers = draw(HEADERS)
        place = (f"topic-{topic_index}", topic_index, partition, offset)
        records.append((payload, timestamp_ms, *place, headers, topic_index == 2))
    return records


NAME_SETS = st.none() | st.none() | st.frozensets(st.sampled_from(NAMES), min_size=1, max_size=3)


@st.composite
def rules(draw: st.DrawFn) -> CompiledRule:
    action = draw(st.sampled_from(Action))
    has_topics = action in (Action.ROUTE, Action.COPY)
    label_names = st.sampled_from(("env", "é", "correlation_id"))
    label_sets = st.frozensets(st.sampled_from(NAMES), min_size=1, max_size=3)
    return CompiledRule(
        types_mask=draw(st.sampled_from((0, 0, 1, 8, 6, 31))),
        levels_mask=draw(st.sampled_from((0, 0, 0, 2, 24))),
        services=draw(NAME_SETS),
        components=draw(NAME_SETS),
        labels=tuple(draw(st.dictionaries(label_names, label_sets, max_size=2)).items()),
        correlation_ids=draw(NAME_SETS),
        action=int(action),
        topics=tuple(draw(st.lists(st.integers(0, 9), min_size=1, max_size=4))) if has_topics else (),
        threshold=sample_threshold(draw(st.sampled_from((0, 0.01, 0.5, 0.9, 1)))) if action == Action.SAMPLE else 0,
    )


TTL_SETTINGS = ("events_ttl_s", "logs_ttl_s", "error_logs_ttl_s", "traces_ttl_s", "alerts_ttl_s")
TTL_VALUES = (1, 100, 3600, 86400, 604800, 7776000)
TTLS = st.sampled_from(TTL_VALUES)


@st.composite
def settings_of_tables(draw: st.DrawFn) -> dict[str, Any]:
    """The keyword arguments of RouteTable and of the twin's Table. Trims stay off."""
    return {
        "partition_by": int(draw(st.sampled_from(PartitionBy))),
        "event_bytes_max": draw(st.sampled_from((EVENT_BYTES_MAX,) * 5 + (150,))),
        "stored_types_mask": draw(st.sampled_from((31, 31, 31, 0, 9))),
        "index_correlation": draw(st.sampled_from((True, True, True, False))),
        "index_trace": draw(st.sampled_from((True, True, True, False))),
        "compact": draw(st.booleans()),
        "index_members_max": 0,
    } | {name: draw(TTLS) for name in TTL_SETTINGS}


# Seconds between two batches, near the limits of the TTLs above.
PAUSE_VALUES_S = (0, 0, 1, 899, 900, 901, 22_499, 22_500, 90_000, 90_001, 608_401, 10_000_000)
PAUSES_S = st.sampled_from(PAUSE_VALUES_S)


# The same by a seeded Random: it cannot shrink what it finds, but is a hundred times faster.


def random_time(chance: random.Random) -> str:
    if chance.random() < 0.4:
        return chance.choice(shapes.GOOD_TIMES if chance.random() < 0.7 else shapes.BAD_TIMES)
    moment = datetime(1, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(315_000_000_000))
    fraction = "." + str(chance.randrange(10 ** chance.randint(1, 12))) if chance.random() < 0.5 else ""
    zone = f"{chance.choice('+-')}{chance.randrange(25):02}:{chance.randrange(61):02}" if chance.random() < 0.5 else "Z"
    return moment.replace(tzinfo=None).isoformat() + fraction + zone


def random_payload(chance: random.Random) -> bytes | None:
    if chance.random() < 0.05:
        return chance.choice(SMALL_SHAPES)
    event: dict[str, Any] = {"type": chance.choice((*TYPE_NAMES, "error"))}
    event["level"] = chance.choice((*LEVEL_NAMES, "WARN"))
    for name in ("id", "service", "component", "message", "correlation_id", "trace_id", "span_id"):
        if chance.random() < 0.6:
            event[name] = chance.choice((*NAMES, None))
    if chance.random() < 0.4:
        event["timestamp"] = random_time(chance)
    for name in ("labels", "metadata"):
        if chance.random() < 0.4:
            values = (*NAMES, None, 5, 1.5, [], {"env": "a"})
            keys = [key for key in ("correlation_id", "env", "é") if chance.random() < 0.5]
            event[name] = {key: chance.choice(values) for key in keys}
    if chance.random() < 0.03:
        event[chance.choice(sorted(event))] = chance.choice((5, True, [], {}, "x", None))
    names = chance.sample(sorted(event), len(event))
    return json.dumps({name: event[name] for name in names}, ensure_ascii=chance.random() < 0.5).encode()


def random_batch(chance: random.Random, record_count: int) -> list[Record]:
    records: list[Record] = []
    for offset in range(record_count):
        topic_index, partition = chance.choice(((0, 0), (0, 1), (1, 0), (2, 7)))
        place = (f"topic-{topic_index}", topic_index, partition, offset)
        names, values = ("X-Correlation-ID", "correlation_id", "other"), (b"", b"a", b"\xff", "é😀".encode())
        headers = [(chance.choice(names), chance.choice(values)) for _ in range(chance.randrange(3))] or None
        timestamp_ms = chance.choice((-1, 0, TIMESTAMP_MS))
        records.append((random_payload(chance), timestamp_ms, *place, headers, topic_index == 2))
    return records


def random_rule(chance: random.Random) -> CompiledRule:
    def names(share: float) -> frozenset[str] | None:
        return frozenset(chance.sample(NAMES, 3)) if chance.random() < share else None

    action = chance.choice(list(Action))
    has_topics = action in (Action.ROUTE, Action.COPY)
    return CompiledRule(
        types_mask=chance.choice((0, 1, 8, 6)),
        levels_mask=chance.choice((0, 0, 2, 24)),
        services=names(0.3),
        components=names(0.2),
        labels=tuple((key, names(1)) for key in ("env", "é") if chance.random() < 0.2),
        correlation_ids=names(0.2),
        action=int(action),
        topics=tuple(chance.choices(range(10), k=chance.randint(1, 4))) if has_topics else (),
        threshold=sample_threshold(chance.random()) if action == Action.SAMPLE else 0,
    )


def random_settings(chance: random.Random) -> dict[str, Any]:
    return {
        "partition_by": int(chance.choice(list(PartitionBy))),
        "event_bytes_max": chance.choice((EVENT_BYTES_MAX, EVENT_BYTES_MAX, 400)),
        "stored_types_mask": chance.choice((31, 31, 31, 9)),
        "index_correlation": chance.random() < 0.9,
        "index_trace": chance.random() < 0.9,
        "compact": chance.random() < 0.3,
        "index_members_max": 0,
    } | {name: chance.choice(TTL_VALUES) for name in TTL_SETTINGS}
