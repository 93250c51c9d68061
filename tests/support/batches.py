"""Random batches for property tests. Hypothesis draws in; records, tables and steps of time out.

Names are drawn from small pools, so that events meet: the same ids, the same index keys, rules that match.
"""

import json
from typing import Any

from hypothesis import strategies as st

from ingestd.model import LEVEL_NAMES, TYPE_NAMES, Action, PartitionBy
from ingestd.rules import CompiledRule, sample_threshold
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
    st.sampled_from((*shapes.GOOD_TIMES, *shapes.BAD_TIMES)),
    st.datetimes().map(lambda time: time.isoformat() + "Z"),
    st.from_regex(NEARLY_RFC_3339, fullmatch=True),
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
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
        "id": text(), "service": text(), "component": text(), "message": text(), "correlation_id": text(),
        "trace_id": text(), "span_id": text(), "timestamp": TIMES, "labels": carriers(), "metadata": carriers(),
        "data": JSON_VALUES, "unknown": JSON_VALUES,
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
        slot, partition = draw(st.sampled_from(((0, 0), (0, 1), (1, 0), (2, 7))))
        offset = next_offsets.get((slot, partition), 0) + draw(st.integers(0, 2))
        next_offsets[slot, partition] = offset + 1
        timestamp_ms = draw(st.sampled_from((-1, 0, TIMESTAMP_MS, TIMESTAMP_MS + 7_200_000)))
        headers = draw(HEADERS)
        records.append((payload, timestamp_ms, f"topic-{slot}", slot, partition, offset, headers, slot == 2))
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


TTLS = st.sampled_from((1, 100, 3600, 86400, 604800, 7776000))


@st.composite
def settings_of_tables(draw: st.DrawFn) -> dict[str, Any]:
    """The keyword arguments of RouteTable and of the twin's Table. Trims stay off."""
    ttls = ("events_ttl_s", "logs_ttl_s", "error_logs_ttl_s", "traces_ttl_s", "alerts_ttl_s")
    return {
        "partition_by": int(draw(st.sampled_from(PartitionBy))),
        "event_bytes_max": draw(st.sampled_from((EVENT_BYTES_MAX, EVENT_BYTES_MAX, 150))),
        "stored_types_mask": draw(st.sampled_from((31, 31, 31, 0, 9))),
        "index_correlation": draw(st.booleans()),
        "index_trace": draw(st.booleans()),
        "compact": draw(st.booleans()),
        "index_members_max": 0,
    } | {name: draw(TTLS) for name in ttls}


# Seconds between two batches, near the limits of the TTLs above.
PAUSES_S = st.sampled_from((0, 0, 1, 899, 900, 901, 22_499, 22_500, 90_000, 90_001, 608_401, 10_000_000))
