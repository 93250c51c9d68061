"""Which events a consumer wants: EventFilter, matched by the compiled rules of the daemon. No I/O.

An event is matched by the code that matches rules in the daemon, on the record's bytes, so that both always agree.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from confluent_kafka import Message

from ..._fastpath import Batch, RouteTable, match_records
from ...errors import IngestdError
from ...events.rules import CompiledRule, MatchConfig, compile_match
from ...events.vocabulary import LEVEL_ALIASES, LEVEL_NAMES, TYPE_ALIASES, TYPE_NAMES, Fault, PartitionBy
from .messages import header_pairs

# The client takes whatever Kafka delivers: its size was judged when it was published.
EVENT_BYTES_MAX = 1 << 31

Words = str | Iterable[str]


class InvalidFilter(IngestdError, ValueError):
    """A filter that names a type or a level that there is not."""


@dataclass(frozen=True)
class EventFilter:
    """AND between the fields, OR within one; an empty field takes any. One word may stand without a list.

    types: log, metric, alert, trace, health; error is an alias of log. levels: debug, info, warning, error, fatal, in
    any case; warn and critical are aliases. labels: key -> value or values. correlation_ids: also those that stand in
    a header, in metadata or in labels.
    """

    types: Words = ()
    levels: Words = ()
    services: Words = ()
    components: Words = ()
    labels: Mapping[str, Words] = field(default_factory=dict)
    correlation_ids: Words = ()

    def __post_init__(self) -> None:
        for name in ("types", "levels", "services", "components", "correlation_ids"):
            object.__setattr__(self, name, _words(getattr(self, name)))
        object.__setattr__(self, "labels", {key: _words(values) for key, values in self.labels.items()})
        for name in self.types:
            if TYPE_ALIASES.get(name, name) not in TYPE_NAMES:
                raise InvalidFilter(f"{name!r} is not an event type; known: {', '.join(TYPE_NAMES)}")
        for name in self.levels:
            if LEVEL_ALIASES.get(name.lower(), name.lower()) not in LEVEL_NAMES:
                raise InvalidFilter(f"{name!r} is not a level; known: {', '.join(LEVEL_NAMES)}")


def _words(given: Words) -> tuple[str, ...]:
    # A StrEnum is a str that the rules would show by another name.
    return (str(given),) if isinstance(given, str) else tuple(str(word) for word in given)


class Match(NamedTuple):
    """What the rule code says of one record. `correlation_id`: as the daemon finds it, empty when there is none."""

    fault: int
    matched: bool
    correlation_id: str


class Matcher:
    """One filter, compiled. Runs on: one thread at a time."""

    def __init__(self, event_filter: EventFilter | None, records_max: int) -> None:
        compiled: tuple[CompiledRule, ...] = ()
        if event_filter is not None:
            match = MatchConfig(
                types=tuple(event_filter.types),
                levels=tuple(event_filter.levels),
                services=tuple(event_filter.services),
                components=tuple(event_filter.components),
                labels={key: tuple(values) for key, values in event_filter.labels.items()},
                correlation_ids=tuple(event_filter.correlation_ids),
            )
            compiled = (compile_match(match),)
        # Nothing is stored or sent: the rest of the table is without meaning.
        self._table = RouteTable(
            compiled,
            partition_by=PartitionBy.NONE,
            event_bytes_max=EVENT_BYTES_MAX,
            stored_types_mask=0,
            index_correlation=False,
            index_trace=False,
            compact=False,
            events_ttl_s=1,
            logs_ttl_s=1,
            error_logs_ttl_s=1,
            traces_ttl_s=1,
            alerts_ttl_s=1,
            index_members_max=0,
        )
        self._batch = Batch(records_max)

    def match(self, messages: Sequence[Message], correlation_headers: list[str]) -> list[Match]:
        """By message. At most `records_max` of them."""
        rows = [
            (
                message.value(),
                message.timestamp()[1],
                message.topic() or "",
                0,
                message.partition() or 0,
                message.offset() or 0,
                [(name, value) for name, value in header_pairs(message) if isinstance(value, bytes)] or None,
                False,
            )
            for message in messages
        ]
        self._batch.load(rows, correlation_headers)
        try:
            return [Match(*found) for found in match_records(self._batch, self._table)]
        finally:
            self._batch.release()


def fault_name(fault: int) -> str:
    """The class of a bad event, as dead letters name it."""
    return Fault(fault).name.lower()
