"""The fast path in plain Python. Records in, sends and Redis commands out, as it does. Short, slow, obvious. Pure.

It explains `_fastpath.process_batch`, and the property tests run both. Trims are not in it: they depend on chance.
"""

import re
from calendar import monthrange
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

import msgspec

from ingestd.events.rules import CompiledRule, sample_randomness
from ingestd.events.vocabulary import (
    DEAD_LETTER_TOPIC_INDEX,
    INDEX_TTL_MARGIN_S,
    LEVEL_ALIASES,
    LEVEL_NAMES,
    TYPE_ALIASES,
    TYPE_NAMES,
    Action,
    EventType,
    Fault,
    Level,
    PartitionBy,
    Verdict,
)

SEND_HEADERS, SEND_DEAD = 1, 2
RFC_3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
BRACKETS_AND_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[][{}]', re.DOTALL)
DEPTH_MAX = 500
ZERO_TIME_MS = (date(1, 1, 1) - date(1970, 1, 1)).days * 86_400_000

# (payload, timestamp_ms, topic, source_topic_index, partition, offset, headers, index_only), as Batch.load takes it
Record = tuple[bytes | None, int, str, int, int, int, list[tuple[str, bytes]] | None, bool]
Command = tuple[bytes, ...]


class Event(msgspec.Struct):
    """Everything that is judged has its type here; what is in labels and metadata is not judged, so it stays raw."""

    id: str | None = None
    type: str | None = None
    level: str | None = None
    service: str | None = None
    component: str | None = None
    message: str | None = None
    timestamp: str | None = None
    correlation_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    labels: dict[str, msgspec.Raw] | None = None
    metadata: dict[str, msgspec.Raw] | None = None


@dataclass(frozen=True)
class Table:
    """What `_fastpath.RouteTable` is made of."""

    rules: Sequence[CompiledRule]
    partition_by: int
    event_bytes_max: int
    stored_types_mask: int
    index_correlation: bool
    index_trace: bool
    compact: bool
    events_ttl_s: int
    logs_ttl_s: int
    error_logs_ttl_s: int
    traces_ttl_s: int
    alerts_ttl_s: int
    index_members_max: int = 0

    @property
    def longest_ttl_s(self) -> int:
        return max(self.events_ttl_s, self.logs_ttl_s, self.error_logs_ttl_s, self.traces_ttl_s, self.alerts_ttl_s)


@dataclass
class Result:
    """What `Batch` gives after `process_batch`."""

    sends: list[tuple[int, int, bytes | None, int, int]] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    verdicts: list[tuple[int, int]] = field(default_factory=list)
    reply_ends: list[int] = field(default_factory=list)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)  # (service, level), of error logs

    def resp(self) -> bytes:
        return b"".join(command_bytes(command) for command in self.commands)


def command_bytes(words: Command) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class Bad(Exception):
    """The event is bad; `args[0]` is its Fault."""


@dataclass
class Resolved:
    """A good event with all that is derived from it."""

    decoded: Event
    type: EventType
    level: Level
    id: str
    correlation: str
    trace: str
    span: str
    score_ms: int


def process_batch(
    records: Sequence[Record], table: Table, cache: "TtlCache", now_s: int, correlation_headers: Sequence[str] = ()
) -> Result:
    result = Result()
    for index, record in enumerate(records):
        headers = SEND_HEADERS if record[6] else 0
        try:
            event = resolve(record, read(record[0], table.event_bytes_max), now_s, correlation_headers)
        except Bad as bad:
            fault = bad.args[0]
            result.sends.append((index, DEAD_LETTER_TOPIC_INDEX, None, SEND_DEAD | headers, fault))
            result.verdicts.append((Verdict.DEAD, fault))
        else:
            if event.type == EventType.LOG and event.level >= Level.ERROR:
                result.errors[event.decoded.service or "", LEVEL_NAMES[event.level]] += 1
            verdict, topics, store = walk_rules(table.rules, event)
            key = partition_key(table.partition_by, event)
            if not record[7]:
                result.sends += [(index, topic, key, headers, Fault.NONE) for topic in topics]
            if store and table.stored_types_mask >> event.type & 1:
                result.commands += redis_commands(record[0], event, table, cache, now_s)
            result.verdicts.append((verdict, Fault.NONE))
        result.reply_ends.append(len(result.commands))
    return result


def match_records(
    records: Sequence[Record], table: Table, now_s: int, correlation_headers: Sequence[str] = ()
) -> list[tuple[int, bool, str]]:
    """By record: its fault, whether a rule matches it, its correlation id. Without rules everything matches."""
    result = []
    for record in records:
        try:
            event = resolve(record, read(record[0], table.event_bytes_max), now_s, correlation_headers)
        except Bad as bad:
            result.append((bad.args[0], False, ""))
        else:
            matched = not table.rules or any(matches(rule, event) for rule in table.rules)
            result.append((Fault.NONE, matched, event.correlation))
    return result


# 1. Checks


def read(payload: bytes | None, event_bytes_max: int) -> Event:
    if payload is None:
        raise Bad(Fault.TOMBSTONE)
    if len(payload) > event_bytes_max:
        raise Bad(Fault.TOO_LARGE)
    fault = json_fault(payload)
    if fault:
        raise Bad(fault)
    try:
        return msgspec.json.decode(payload, type=Event)
    except msgspec.DecodeError:
        raise Bad(Fault.WRONG_FIELD_TYPE) from None


def json_fault(payload: bytes) -> Fault:
    """What is wrong with the bytes before any field is looked at."""
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError:
        return Fault.INVALID_UTF8
    if too_deep(payload):
        return Fault.TOO_DEEP
    try:
        msgspec.json.decode(payload, type=msgspec.Raw)
    except msgspec.DecodeError:
        return Fault.NOT_JSON
    return Fault.NONE


def too_deep(payload: bytes) -> bool:
    """Whether more than DEPTH_MAX containers are open at once; brackets in texts are none."""
    depth = 0
    for token in BRACKETS_AND_TEXTS.findall(payload):
        depth += (token in (b"{", b"[")) - (token in (b"}", b"]"))
        if depth > DEPTH_MAX:
            return True
    return False


def time_ms(text: str) -> int:
    """Milliseconds since the epoch, rounded down."""
    match = RFC_3339.fullmatch(text)
    if match is None:
        raise Bad(Fault.BAD_TIMESTAMP)
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, sign, zone_hour, zone_minute = match[7] or "", match[8], int(match[9] or 0), int(match[10] or 0)
    if not (1 <= month <= 12 and hour <= 23 and minute <= 59 and second <= 60):
        raise Bad(Fault.BAD_TIMESTAMP)
    if zone_hour > 23 or zone_minute > 59:
        raise Bad(Fault.BAD_TIMESTAMP)
    # Python has no year 0. The calendar repeats after 400 years, which are 146,097 days.
    shifted_year, shift_days = (year + 400, 146_097) if year == 0 else (year, 0)
    if not 1 <= day <= monthrange(shifted_year, month)[1]:
        raise Bad(Fault.BAD_TIMESTAMP)
    days = (date(shifted_year, month, day) - date(1970, 1, 1)).days - shift_days
    zone_s = (zone_hour * 3600 + zone_minute * 60) * (-1 if sign == "-" else 1)
    return (days * 86400 + hour * 3600 + minute * 60 + second - zone_s) * 1000 + int((fraction + "000")[:3])


# 2. What is derived


def resolve(record: Record, decoded: Event, now_s: int, correlation_headers: Sequence[str]) -> Resolved:
    _, timestamp_ms, topic, _, partition, offset, headers, _ = record
    type_name = TYPE_ALIASES.get(decoded.type, decoded.type)
    if type_name not in TYPE_NAMES:
        raise Bad(Fault.UNKNOWN_TYPE)
    level = decoded.level or ""
    level = level.lower() if level.isascii() else ""
    level = LEVEL_ALIASES.get(level, level)
    if level not in LEVEL_NAMES:
        raise Bad(Fault.UNKNOWN_LEVEL)
    score_ms = ZERO_TIME_MS if decoded.timestamp is None else time_ms(decoded.timestamp)
    if score_ms == ZERO_TIME_MS:
        score_ms = timestamp_ms if timestamp_ms >= 0 else now_s * 1000
    return Resolved(
        decoded=decoded,
        type=EventType(TYPE_NAMES.index(type_name)),
        level=Level(LEVEL_NAMES.index(level)),
        id=decoded.id or f"{topic}-{partition}-{offset}",
        correlation=decoded.correlation_id
        or header_correlation(headers or [], correlation_headers)
        or text_of((decoded.metadata or {}).get("correlation_id"))
        or text_of((decoded.labels or {}).get("correlation_id")),
        trace=decoded.trace_id or "",
        span=decoded.span_id or "",
        score_ms=score_ms,
    )


def header_correlation(headers: list[tuple[str, bytes]], wanted: Sequence[str]) -> str:
    """Of each wanted name the first header counts; the first that is text wins."""
    for name in wanted:
        value = next((value for other, value in headers if other == name), b"")
        try:
            if value:
                return value.decode("utf-8")
        except UnicodeDecodeError:
            continue
    return ""


def text_of(raw: msgspec.Raw | None) -> str:
    """A raw JSON value as text; what is no string is as good as not there."""
    return msgspec.json.decode(raw) if raw is not None and bytes(raw).startswith(b'"') else ""


# 3. Rules


def walk_rules(rules: Sequence[CompiledRule], event: Resolved) -> tuple[Verdict, list[int], bool]:
    """(verdict, topics in order and each once, whether Redis gets it)"""
    first, copies, store = [int(event.type)], [], True
    for rule in rules:
        if not matches(rule, event):
            continue
        if rule.action == Action.COPY:
            copies += rule.topics
        elif rule.action == Action.NO_STORE:
            store = False
        elif rule.action == Action.ROUTE:
            first = list(rule.topics)
            break
        elif rule.action == Action.KEEP:
            break
        elif rule.action == Action.DROP or sample_randomness(sampling_key(event)) < rule.threshold:
            return Verdict.DROPPED, list(dict.fromkeys(copies)), False
    return Verdict.ROUTED, list(dict.fromkeys(first + copies)), store


def sampling_key(event: Resolved) -> str:
    return event.trace or event.correlation or event.id


def matches(rule: CompiledRule, event: Resolved) -> bool:
    """AND between what the rule names, OR within."""
    labels = event.decoded.labels or {}
    return (
        (not rule.types_mask or bool(rule.types_mask >> event.type & 1))
        and (not rule.levels_mask or bool(rule.levels_mask >> event.level & 1))
        and (rule.services is None or event.decoded.service in rule.services)
        and (rule.components is None or event.decoded.component in rule.components)
        and (rule.correlation_ids is None or event.correlation in rule.correlation_ids)
        and all(key in labels and is_text_in(labels[key], values) for key, values in rule.labels)
    )


def is_text_in(raw: msgspec.Raw, values: frozenset[str]) -> bool:
    return bytes(raw).startswith(b'"') and msgspec.json.decode(raw) in values


# 4. Sends


def partition_key(partition_by: int, event: Resolved) -> bytes | None:
    if partition_by == PartitionBy.NONE:
        return None
    first, second = event.trace, event.correlation
    if partition_by == PartitionBy.CORRELATION:
        first, second = second, first
    return (first or second).encode() or None


# 5. Redis


class TtlCache:
    """The index keys whose TTL was set lately. `slot_of` says where a key lives; the last comer owns the slot."""

    def __init__(self, slot_of: Callable[[bytes], int], compares_ttls: bool) -> None:
        self.slot_of = slot_of
        self.compares_ttls = compares_ttls
        self.slots: dict[int, tuple[bytes, int, int]] = {}  # slot -> (key, refreshed_s, ttl_s)

    def expires(self, key: bytes, wanted_s: int, longest_s: int, now_s: int) -> list[Command]:
        """The EXPIRE commands that are due. `longest_s`: no index key has a longer TTL."""
        known_key, refreshed_s, ttl_s = self.slots.get(self.slot_of(key), (b"", 0, 0))
        is_known = known_key == key
        is_fresh = is_known and now_s - refreshed_s < INDEX_TTL_MARGIN_S
        if is_fresh and wanted_s <= ttl_s:
            return []
        ttl_s = max(ttl_s, wanted_s) if is_known else wanted_s
        self.slots[self.slot_of(key)] = (key, now_s, ttl_s)
        expire = (b"EXPIRE", key, b"%d" % ttl_s)
        if not self.compares_ttls or ttl_s >= longest_s:
            return [expire]
        # GT does nothing for a key without a TTL. Only a fresh key has one for sure: another may have ended meanwhile.
        return [(*expire, b"GT")] if is_fresh else [(*expire, b"NX"), (*expire, b"GT")]


def class_key(event: Resolved, table: Table) -> tuple[str, int] | None:
    """The second key of an event, and its TTL."""
    if event.type == EventType.LOG:
        ttl_s = table.error_logs_ttl_s if event.level >= Level.ERROR else table.logs_ttl_s
        return f"logs:{LEVEL_NAMES[event.level]}:{event.id}", ttl_s
    if event.type == EventType.TRACE and event.trace and event.span:
        return f"traces:{event.trace}:{event.span}", table.traces_ttl_s
    if event.type == EventType.ALERT:
        return f"alert_events:{event.id}", table.alerts_ttl_s
    return None


def redis_commands(value: bytes, event: Resolved, table: Table, cache: TtlCache, now_s: int) -> list[Command]:
    keys = [(f"events:{TYPE_NAMES[event.type]}:{event.id}", table.events_ttl_s)]
    second = class_key(event, table)
    longest_s = max(table.events_ttl_s, second[1] if second else 0)
    if table.compact:
        keys = [(keys[0][0], longest_s)]
    elif second:
        keys.append(second)
    commands = [(b"SET", key.encode(), value, b"EX", b"%d" % ttl_s) for key, ttl_s in keys]

    # max takes the first of equals: the events: key on a tie.
    members = [max(keys, key=lambda key: key[1])[0]]
    if event.type == EventType.TRACE and members[0] != keys[0][0]:
        members.append(keys[0][0])
    score = b"%d" % event.score_ms
    indexes = []
    if table.index_correlation and event.correlation:
        indexes.append(f"correlation_index:{event.correlation}".encode())
    if table.index_trace and event.trace:
        indexes.append(f"trace_index:{event.trace}".encode())
    for index in indexes:
        commands.append((b"ZADD", index, *(word for member in members for word in (score, member.encode()))))
        commands += cache.expires(
            index, longest_s + INDEX_TTL_MARGIN_S, table.longest_ttl_s + INDEX_TTL_MARGIN_S, now_s
        )
    return commands
