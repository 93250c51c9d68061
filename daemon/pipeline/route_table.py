"""Builds the fast path's RouteTable from the config in force and the open taps: rules, topics, times to live."""

from collections.abc import Sequence
from typing import Final, Protocol

from .._fastpath import RouteTable
from ..config.schema import Config
from ..errors import ConfigError, Problem
from ..events.rules import CompiledRule, OutputTopics, compile_rules, mask_of
from ..events.vocabulary import TYPE_NAMES, PartitionBy

# The fast path numbers topics in 16 bits.
TOPIC_NUMBERS_MAX: Final = 1 << 16


class OpenTaps(Protocol):
    """What a table needs of the taps: their matches, and a bit for each that sees bad events."""

    @property
    def rules(self) -> Sequence[CompiledRule]: ...
    @property
    def dead_taps(self) -> int: ...


class RouteTables:
    """Runs on: the loop. A table is never changed: a reload, or a tap that opens or closes, asks for another one."""

    def __init__(self, config: Config, taps: OpenTaps) -> None:
        self._config = config
        self._taps = taps
        self._rules, self.topics = compile_rules(config.rules, config.kafka.topics.outputs())

    def build(self) -> RouteTable:
        """Of what is in force now."""
        return RouteTable(
            self._rules, taps=self._taps.rules, dead_taps=self._taps.dead_taps, **table_arguments(self._config)
        )

    def swap(self, config: Config) -> list[str]:
        """Another config. Gives the output topics that it adds; those that are known keep their numbers.

        Raises ConfigError, with nothing changed, when reloads have brought more topics than there are numbers.
        """
        known: OutputTopics = self.topics
        rules, topics = compile_rules(config.rules, config.kafka.topics.outputs(), known)
        if len(topics.names) > TOPIC_NUMBERS_MAX:
            what = f"with those of earlier reloads, there are more than {TOPIC_NUMBERS_MAX} output topics"
            raise ConfigError([Problem("rules", what, "restart the daemon: it forgets those not named now")])
        self._rules, self.topics = rules, topics
        self._config = config
        return list(self.topics.names[len(known.names) :])


def table_arguments(config: Config) -> dict[str, int]:
    """The keyword arguments of `_fastpath.RouteTable` that a config stands for."""
    storage, streaming = config.storage, config.observability.event_streaming
    return {
        "partition_by": PartitionBy[config.kafka.partition_by.upper()],
        "event_bytes_max": config.pipeline.event_bytes_max,
        "stored_types_mask": mask_of(storage.types, TYPE_NAMES),
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
