"""The keys of config.yaml and their defaults: one frozen Struct for each section. Reads nothing."""

import os
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from ..events.rules import RuleConfig
from ..events.vocabulary import TYPED_TOPIC_KEYS

Seconds = int
Milliseconds = int


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every part of the config."""


class TopicsConfig(Section):
    observability_events: str = "observability.events"
    logs: str = "observability.logs"
    metrics: str = "observability.metrics"
    alerts: str = "observability.alerts"
    traces: str = "observability.traces"
    health_checks: str = "observability.health"
    dead_letter: str = "observability.dead_letter"
    raw_data: str | None = None
    processed_data: str | None = None

    def outputs(self) -> tuple[str, ...]:
        """The typed topics in EventType's order, then the dead letters'."""
        return (*(getattr(self, key) for key in TYPED_TOPIC_KEYS), self.dead_letter)


class SecurityConfig(Section):
    protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    key_password_file: str | None = None
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI"] | None = None
    sasl_username: str | None = None
    sasl_password_file: str | None = None


class KafkaConfig(Section):
    brokers: tuple[str, ...] = ("localhost:9092",)
    client_id: str | None = None
    group_id: str = "ingestd"
    group_instance_id: str | None = None
    group_protocol: Literal["classic", "consumer"] = "classic"
    rack: str | None = None
    input_topics: tuple[str, ...] | None = None
    index_only_topics: tuple[str, ...] = ()
    auto_offset_reset: Literal["earliest", "latest"] = "earliest"
    topics: TopicsConfig = TopicsConfig()
    partition_by: Literal["trace", "correlation", "none"] = "trace"
    timestamp: Literal["source", "now"] = "source"
    security: SecurityConfig = SecurityConfig()
    consumer_options: dict[str, str] = {}
    producer_options: dict[str, str] = {}


class SentinelConfig(Section):
    master: str
    nodes: tuple[str, ...]


class TlsConfig(Section):
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


class RedisConfig(Section):
    url: str = "redis://localhost:6379/0"
    sentinel: SentinelConfig | None = None
    username: str | None = None
    password_file: str | None = None
    tls: TlsConfig = TlsConfig()
    reply_timeout_ms: Milliseconds = 5000
    wait_replicas: int = 0
    on_unavailable: Literal["block", "skip"] = "block"
    on_full: Literal["block", "skip"] = "block"


class StorageConfig(Section):
    layout: Literal["full", "compact"] = "full"
    types: tuple[Literal["log", "metric", "alert", "trace", "health"], ...] = (
        "log",
        "metric",
        "alert",
        "trace",
        "health",
    )
    indexes: tuple[Literal["correlation", "trace"], ...] = ("correlation", "trace")
    index_members_max: int = 10000
    events_ttl_s: Seconds = 86400
    logs_ttl_s: Seconds = 86400
    error_logs_ttl_s: Seconds = 604800
    traces_ttl_s: Seconds = 604800
    alerts_ttl_s: Seconds = 7776000


class EventStreamingConfig(Section):
    correlation_id_header: str = "X-Correlation-ID"
    trace_id_header: str = "X-Trace-ID"
    span_id_header: str = "X-Span-ID"
    service_name: str = "realtime-data-pipeline"
    enable_distributed_tracing: bool = True
    enable_correlation_tracking: bool = True
    trace_sampling_rate: float = 0.1


class ObservabilityConfig(Section):
    event_streaming: EventStreamingConfig = EventStreamingConfig()


class FloodConfig(Section):
    on_flood: Literal["warn", "pause"] = "warn"
    max_ratio: float = 0.5
    window_s: Seconds = 60
    min_events: int = 1000


class PipelineConfig(Section):
    batch_events_max: int = 2000
    in_flight_events_max: int = 10000
    event_bytes_max: int = 1048576
    memory_limit_mib: int = 192
    commit_interval_ms: Milliseconds = 1000
    drain_timeout_ms: Milliseconds = 10000
    delivery: Literal["at_least_once"] = "at_least_once"
    dead_letter: FloodConfig = FloodConfig()


class HealthConfig(Section):
    interval_s: Seconds = 10
    lag_warning_records: int = 100000
    lag_warning_s: Seconds = 60


class HttpConfig(Section):
    listen: str | None = "127.0.0.1:9464"


class ControlConfig(Section):
    socket: str | None = None

    def socket_path(self) -> str | None:
        """Where the control socket is: `socket`, else in the runtime directory that systemd gives, else nowhere."""
        if self.socket is not None:
            return self.socket
        folder = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
        return f"{folder}/control.sock" if folder else None


class LoggingConfig(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "plain"] = "auto"


class Config(Section):
    kafka: KafkaConfig = KafkaConfig()
    redis: RedisConfig = RedisConfig()
    storage: StorageConfig = StorageConfig()
    observability: ObservabilityConfig = ObservabilityConfig()
    rules: tuple[RuleConfig, ...] = ()
    pipeline: PipelineConfig = PipelineConfig()
    health: HealthConfig = HealthConfig()
    http: HttpConfig = HttpConfig()
    control: ControlConfig = ControlConfig()
    logging: LoggingConfig = LoggingConfig()

    def full_inputs(self) -> list[str]:
        """Those whose events are routed, not only indexed."""
        named = self.kafka.input_topics
        return [self.kafka.topics.observability_events] if named is None else list(named)

    def input_topics(self) -> list[str]:
        """Everything that is subscribed to: names, or regular expressions that begin with ^."""
        inputs = self.full_inputs()
        return list(dict.fromkeys((*inputs, *self.kafka.index_only_topics, *self.old_topics())))

    def old_topics(self) -> dict[str, str]:
        """Old topics whose messages are turned into events: name -> its key in kafka.topics."""
        topics = self.kafka.topics
        named = {"raw_data": topics.raw_data, "processed_data": topics.processed_data}
        return {topic: key for key, topic in named.items() if topic is not None}


def keys(section: type[Section] = Config, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key path with its default, for the test that holds config.yaml equal to this file."""
    for field in msgspec.structs.fields(section):
        here = f"{path}.{field.name}" if path else field.name
        if isinstance(field.type, type) and issubclass(field.type, Section):
            yield from keys(field.type, here)
        else:
            default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
            yield here, default
