"""Checks, routes and indexes the events of one batch: the compiled core."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .events.rules import CompiledRule

STRING_FIELDS: tuple[str, ...]
VOCABULARY: dict[str, dict[str, int]]

# (payload, timestamp_ms, topic, source_topic_index, partition, offset, headers, index_only)
RecordRow = tuple[bytes | None, int, str, int, int, int, list[tuple[str, bytes]] | None, bool]

class Tapped(NamedTuple):
    """One event that a tap wants to see. `topics`: indexes of the output topics that it goes to."""

    payload: bytes
    source_topic_index: int
    partition: int
    offset: int
    timestamp_ms: int
    verdict: int
    fault: int
    topics: list[int]

class Run(NamedTuple):
    """A run of records of one partition inside one batch."""

    source_topic_index: int
    partition: int
    leader_epoch: int
    first_offset: int
    last_offset: int
    received_count: int
    dropped_count: int
    dead_count: int
    first_timestamp_ms: int

class Carrier:
    """`labels` or `metadata`: an object of which only the correlation id is looked at."""

    correlation_id: object

def event_struct(with_labels: bool) -> type:
    """The Struct that events are decoded into."""

class RecordView:
    """The bytes of one record as a buffer that is pointed elsewhere for the next."""

class RouteTable:
    """Rules and storage settings as the loop reads them. Never changed: a reload or a tap builds another one."""

    rule_count: int
    tap_count: int

    def __init__(
        self,
        rules: Sequence[CompiledRule],
        *,
        partition_by: int,
        event_bytes_max: int,
        stored_types_mask: int,
        index_correlation: bool,
        index_trace: bool,
        compact: bool,
        events_ttl_s: int,
        logs_ttl_s: int,
        error_logs_ttl_s: int,
        traces_ttl_s: int,
        alerts_ttl_s: int,
        index_members_max: int,
        taps: Sequence[CompiledRule] = (),
        dead_taps: int = 0,
        scans: bool = True,
    ) -> None: ...

class IndexCache:
    """Which index keys had their TTL set lately. Direct-mapped, of fixed size."""

    compares_ttls: bool
    def __init__(self, slot_count: int = 65536) -> None: ...
    def clear(self) -> None:
        """Forget everything: after a reconnect Redis may not have what was sent before."""

class Batch:
    """One batch. Filled by the edge (or `load` in tests), worked on by `process_batch`, given back by `release`."""

    batch_id: int
    owes: int
    taken_at_s: float
    refused_records: list[int] | None
    table: Any
    @property
    def events_max(self) -> int: ...
    @property
    def record_count(self) -> int: ...
    @property
    def send_count(self) -> int: ...
    @property
    def reply_count(self) -> int: ...
    @property
    def sends_pending(self) -> int: ...
    @property
    def sends_failed(self) -> int: ...
    @property
    def sends_waiting(self) -> bool: ...
    @property
    def held_bytes(self) -> int: ...
    def __init__(self, events_max: int) -> None: ...
    def load(self, records: Iterable[RecordRow], correlation_headers: Sequence[str] = ()) -> None: ...
    def abandon(self) -> None: ...
    def release(self) -> None: ...
    def resp(self) -> bytes: ...
    def resp_view(self) -> memoryview: ...
    def runs(self) -> list[Run]: ...
    def sends(self) -> list[tuple[int, int, bytes | None, int, int]]: ...
    def take_sent_counts(self) -> list[tuple[int, int]]: ...
    def verdicts(self) -> list[tuple[int, int]]: ...
    def fault_counts(self) -> dict[int, int]: ...
    def tapped(self, tap: int, most: int) -> tuple[int, list[Tapped]]: ...
    def reply_ends(self) -> list[int]: ...
    def trim_replies(self) -> list[int]: ...
    def record_of_reply(self, reply_index: int) -> int: ...
    def mark_dead(self, record_index: int) -> bool: ...
    def records_of_run(self, run_index: int) -> list[tuple[int, bytes | None, int, int]]: ...
    def convert(self, record_index: int, value: bytes | None, fault: int = 0) -> None: ...

class ErrorCounts:
    """Error and fatal logs by service since the start."""

    def rows(self) -> list[tuple[str, str, int]]: ...

class ReplyReader:
    """Counts replies and keeps the ones that say something: errors, and the integers that were asked for."""

    @property
    def reply_count(self) -> int: ...
    @property
    def errors(self) -> list[tuple[int, str]]: ...
    @property
    def integers(self) -> list[tuple[int, int]]: ...
    def reset(self) -> None: ...
    def want(self, reply_index: int) -> None: ...
    def take_errors(self) -> list[tuple[int, str]]: ...
    def take_integers(self) -> list[tuple[int, int]]: ...
    def free_space(self) -> memoryview: ...
    def received(self, size: int) -> None: ...
    def feed(self, data: bytes) -> None: ...

class PlainCheck:
    """Whether an event of a program consists of what was seen to be valid before. For the client library."""

    def __init__(self, probe: Any, seconds: set[str], kinds: dict[tuple[Any, Any, Any], Any]) -> None: ...
    def holds(self, event: Any, correlation: str | None, trace: str | None, span: str | None) -> bool: ...

def uuid4_texts(drawn: bytes) -> list[str]:
    """A UUIDv4 as a text for each 16 random bytes."""

def utc_text(time_ns: int) -> str:
    """RFC 3339 in UTC with nanoseconds, trailing zeros left out, of a time not before 1970."""

def process_batch(
    batch: Batch, table: RouteTable, cache: IndexCache, now_s: int, errors: ErrorCounts | None = None
) -> None:
    """Decide about every record of the batch: what is sent where, and what Redis gets."""

def rebuild_index(batch: Batch, table: RouteTable, cache: IndexCache, now_s: int) -> None:
    """Make the Redis bytes again, after `cache` was cleared."""

def match_records(batch: Batch, table: RouteTable, now_s: int = 0) -> list[tuple[int, bool, str]]:
    """By record: its fault, whether a rule matches it (any, without rules), and its correlation id."""

UNREADABLE: tuple[type[Exception], ...]
"""What msgspec raises for bytes that it cannot read. What is wrong with them, `json_fault` says."""

def json_fault(payload: bytes) -> int:
    """The fault of bytes that could not be decoded, by the bytes alone: INVALID_UTF8, TOO_DEEP, NOT_JSON; NONE where
    they are JSON, and only their shape was not the one asked for."""

def hash_key(key: bytes) -> int:
    """The cache's hash of an index key, as a test needs it to find two that share a slot."""

def read_plain(payload: bytes) -> dict[str, bytes] | None:
    """The string fields of an event that the scanner takes, or None where msgspec has to read it. For tests."""

def stops_of(way: str, data: bytes) -> tuple[list[int], bool] | None:
    """([place of each quote, backslash and control byte], all is ASCII), or None without this way. For tests."""
