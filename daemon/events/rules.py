"""Rules: how config.yaml and the control socket write them, and how they are compiled for the fast path. Pure."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, Literal

import msgspec

from .vocabulary import LEVEL_ALIASES, LEVEL_NAMES, TYPE_ALIASES, TYPE_NAMES, Action

RANDOMNESS_BITS: Final = 56


class MatchConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events are meant: AND between the fields, OR within one; an empty field matches everything."""

    types: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    labels: dict[str, tuple[str, ...]] = {}
    correlation_ids: tuple[str, ...] = ()


class RuleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule. `topics`: of route and copy; `rate`, 0 to 1: of sample."""

    name: str
    action: Literal["drop", "keep", "route", "copy", "sample", "no_store"]
    match: MatchConfig = MatchConfig()
    topics: tuple[str, ...] = ()
    rate: float | None = None


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


def output_topics(
    rules: Sequence[RuleConfig], outputs: Sequence[str], known: OutputTopics | None = None
) -> OutputTopics:
    """The table of output topics: `outputs`, which are the typed topics and the dead letters', then those of rules.
    One that a rule names and that is a typed topic keeps its typed number. Those of `known` keep theirs at a reload,
    also when no rule names them any more: sends in flight go by number."""
    names = list(outputs)
    if known is not None:
        assert list(known.names[: len(names)]) == names, "typed topics change with a restart"
        names = list(known.names)
    for rule in rules:
        names += [topic for topic in dict.fromkeys(rule.topics) if topic not in names]
    return OutputTopics(tuple(names))


def compile_rules(
    rules: Sequence[RuleConfig], outputs: Sequence[str], known: OutputTopics | None = None
) -> tuple[tuple[CompiledRule, ...], OutputTopics]:
    """All rules in their order, and the topics that they number. `config.checks` has found the rules to be sound."""
    table = output_topics(rules, outputs, known)
    return tuple(_compile(rule, table.names) for rule in rules), table


def compile_match(match: MatchConfig) -> CompiledRule:
    """A match alone, for a tap or a filter: it ends nothing and routes nowhere."""
    return _compile(RuleConfig(name="match", action="keep", match=match), ())


def _compile(rule: RuleConfig, topic_names: tuple[str, ...]) -> CompiledRule:
    match = rule.match
    return CompiledRule(
        types_mask=mask_of((TYPE_ALIASES.get(name, name) for name in match.types), TYPE_NAMES),
        levels_mask=mask_of((LEVEL_ALIASES.get(name.lower(), name.lower()) for name in match.levels), LEVEL_NAMES),
        services=_set(match.services),
        components=_set(match.components),
        labels=tuple((key, frozenset(values)) for key, values in match.labels.items()),
        correlation_ids=_set(match.correlation_ids),
        action=Action[rule.action.upper()],
        topics=tuple(topic_names.index(topic) for topic in rule.topics),
        threshold=sample_threshold(rule.rate) if rule.rate is not None else 0,
    )


def mask_of(names: Iterable[str], known: Sequence[str]) -> int:
    """A bit for each of the names, by its position in `known`."""
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
