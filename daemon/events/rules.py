"""The rules, compiled. Config rules and topic names in; masks, sets and small ints for the fast path out. Pure."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import msgspec

from ..config.schema import Config, MatchConfig, RuleConfig, TopicsConfig
from .vocabulary import LEVEL_ALIASES, LEVEL_NAMES, TYPE_ALIASES, TYPE_NAMES, Action, PartitionBy

RANDOMNESS_BITS: Final = 56


class OutputTopics(msgspec.Struct, frozen=True):
    """Every topic that is produced to. 0 to 4: the typed topics in EventType's order (the daemon's own health events
    go to the last of them); 5: dead letters; from 6 on: topics that only rules name."""

    names: tuple[str, ...]


class CompiledRule(msgspec.Struct, frozen=True):
    """One rule as the fast path reads it. A mask of 0 and a set of None match everything."""

    types_mask: int
    levels_mask: int
    services: frozenset[str] | None
    components: frozenset[str] | None
    labels: tuple[tuple[str, frozenset[str]], ...]
    correlation_ids: frozenset[str] | None
    action: int
    topics: tuple[int, ...]
    threshold: int


def output_topics(rules: Sequence[RuleConfig], topics: TopicsConfig, known: OutputTopics | None = None) -> OutputTopics:
    """The table of output topics. One that a rule names and that is a typed topic keeps its typed number. Those of
    `known` keep theirs at a reload, also when no rule names them any more: sends in flight go by number."""
    names = [topics.logs, topics.metrics, topics.alerts, topics.traces, topics.health_checks]
    names.append(topics.dead_letter)
    if known is not None:
        assert list(known.names[: len(names)]) == names, "typed topics change with a restart"
        names = list(known.names)
    for rule in rules:
        names += [topic for topic in dict.fromkeys(rule.topics) if topic not in names]
    return OutputTopics(tuple(names))


def compile_rules(
    rules: Sequence[RuleConfig], topics: TopicsConfig, known: OutputTopics | None = None
) -> tuple[tuple[CompiledRule, ...], OutputTopics]:
    """All rules in their order, and the topics that they number. `config_check` has found the rules to be sound."""
    table = output_topics(rules, topics, known)
    return tuple(_compile(rule, table.names) for rule in rules), table


def compile_match(match: MatchConfig) -> CompiledRule:
    """A match alone, for who only looks on: it ends nothing and goes nowhere."""
    return _compile(RuleConfig(name="match", action="keep", match=match), ())


def _compile(rule: RuleConfig, topic_names: tuple[str, ...]) -> CompiledRule:
    match = rule.match
    return CompiledRule(
        types_mask=_mask((TYPE_ALIASES.get(name, name) for name in match.types), TYPE_NAMES),
        levels_mask=_mask((LEVEL_ALIASES.get(name.lower(), name.lower()) for name in match.levels), LEVEL_NAMES),
        services=_set(match.services),
        components=_set(match.components),
        labels=tuple((key, frozenset(values)) for key, values in match.labels.items()),
        correlation_ids=_set(match.correlation_ids),
        action=Action[rule.action.upper()],
        topics=tuple(topic_names.index(topic) for topic in rule.topics),
        threshold=sample_threshold(rule.rate) if rule.rate is not None else 0,
    )


def _mask(names, known: Sequence[str]) -> int:
    return sum({1 << known.index(name) for name in names})


def _set(values: Sequence[str]) -> frozenset[str] | None:
    return frozenset(values) if values else None


def sample_threshold(rate: float) -> int:
    """OpenTelemetry's rejection threshold: an event is kept when its randomness is at least this."""
    return round((1 - rate) * (1 << RANDOMNESS_BITS))


def sample_randomness(key: str) -> int:
    """56 bits of a trace id: of 32 hex digits the low ones, as OpenTelemetry has it, else of its SHA-256."""
    if len(key) == 32 and all(digit in "0123456789abcdefABCDEF" for digit in key):
        bits = int(key, 16)
    else:
        bits = int.from_bytes(sha256(key.encode()).digest()[:8], "big")
    return bits & ((1 << RANDOMNESS_BITS) - 1)


def table_arguments(config: Config) -> dict[str, int]:
    """The keyword arguments of `_fastpath.RouteTable` that a config stands for."""
    storage, streaming = config.storage, config.observability.event_streaming
    return {
        "partition_by": PartitionBy[config.kafka.partition_by.upper()],
        "event_bytes_max": config.pipeline.event_bytes_max,
        "stored_types_mask": _mask(storage.types, TYPE_NAMES),
        "index_correlation": "correlation" in storage.indexes and streaming.enable_correlation_tracking,
        "index_trace": "trace" in storage.indexes and streaming.enable_distributed_tracing,
        "compact": storage.layout == "compact",
        "events_ttl_s": storage.events_ttl_s,
        "logs_ttl_s": storage.logs_ttl_s,
        "error_logs_ttl_s": storage.error_logs_ttl_s,
        "traces_ttl_s": storage.traces_ttl_s,
        "alerts_ttl_s": storage.alerts_ttl_s,
        "index_members_max": storage.index_members_max,
    }
