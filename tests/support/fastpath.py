"""The fast path in few words. Events and rules in, a processed Batch out."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ingestd._fastpath import Batch, IndexCache, RouteTable, process_batch
from ingestd.config.schema import TopicsConfig
from ingestd.events.rules import CompiledRule, MatchConfig, OutputTopics, RuleConfig, compile_rules
from ingestd.events.vocabulary import PartitionBy
from tests.support.resp import Command, commands

EVENT_BYTES_MAX = 1_048_576
NOW_S = 1_800_000_000
TIMESTAMP_MS = 1_799_999_999_123
CORRELATION_HEADERS = ["X-Correlation-ID", "correlation_id"]

# The config's defaults, but that nothing is trimmed
SETTINGS: dict[str, Any] = {
    "partition_by": PartitionBy.TRACE,
    "event_bytes_max": EVENT_BYTES_MAX,
    "stored_types_mask": 0b11111,
    "index_correlation": True,
    "index_trace": True,
    "compact": False,
    "events_ttl_s": 86400,
    "logs_ttl_s": 86400,
    "error_logs_ttl_s": 604800,
    "traces_ttl_s": 604800,
    "alerts_ttl_s": 7776000,
    "index_members_max": 0,
}


def event(**fields: Any) -> dict[str, Any]:
    """A small good event. A field given as None is null."""
    return {"id": "e1", "type": "log", "level": "info"} | fields


def rule(action: str, topics: Sequence[str] = (), rate: float | None = None, **match: Any) -> RuleConfig:
    return RuleConfig(name=action, action=action, match=MatchConfig(**match), topics=tuple(topics), rate=rate)


def compiled(rules: Iterable[RuleConfig]) -> tuple[tuple[CompiledRule, ...], OutputTopics]:
    return compile_rules(tuple(rules), TopicsConfig().outputs())


def table(rules: Sequence[CompiledRule] = (), **settings: Any) -> RouteTable:
    return RouteTable(tuple(rules), **(SETTINGS | settings))


def record(
    value: dict[str, Any] | bytes | None,
    offset: int = 7,
    timestamp_ms: int = TIMESTAMP_MS,
    topic: str = "in",
    headers: list[tuple[str, bytes]] | None = None,
    index_only: bool = False,
    partition: int = 3,
) -> tuple[Any, ...]:
    """One row for `Batch.load`."""
    payload = json.dumps(value).encode() if isinstance(value, dict) else value
    return (payload, timestamp_ms, topic, 0, partition, offset, headers, index_only)


def run_records(
    rows: Sequence[tuple[Any, ...]], route_table: RouteTable, cache: IndexCache | None = None, now_s: int = NOW_S
) -> Batch:
    batch = Batch(max(1, len(rows)))
    batch.load(rows, CORRELATION_HEADERS)
    process_batch(batch, route_table, cache or IndexCache(1024), now_s)
    return batch


class Outcome:
    """What became of one event, in words."""

    def __init__(self, batch: Batch, topics: OutputTopics) -> None:
        self.verdict, self.fault = batch.verdicts()[0]
        self.topics = [topics.names[send[1]] for send in batch.sends()]
        self.key = batch.sends()[0][2] if batch.sends() else None
        self.commands: list[Command] = commands(batch.resp())
        self.keys = {command[1].decode(): int(command[4]) for command in self.commands if command[0] == b"SET"}
        self.indexes = {c[1].decode(): [m.decode() for m in c[3::2]] for c in self.commands if c[0] == b"ZADD"}
        self.scores = [int(command[2]) for command in self.commands if command[0] == b"ZADD"]


def outcome(
    value: dict[str, Any] | bytes | None,
    *rules: RuleConfig,
    headers: list[tuple[str, bytes]] | None = None,
    index_only: bool = False,
    timestamp_ms: int = TIMESTAMP_MS,
    now_s: int = NOW_S,
    **settings: Any,
) -> Outcome:
    """One event through a fresh fast path."""
    compiled_rules, topics = compiled(rules)
    row = record(value, headers=headers, index_only=index_only, timestamp_ms=timestamp_ms)
    return Outcome(run_records([row], table(compiled_rules, **settings), now_s=now_s), topics)
