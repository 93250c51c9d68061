"""The keys of config.yaml and their defaults: one frozen Struct for each section. Reads nothing."""

import os
from typing import Annotated, Final, Literal

from ..events.rules import RuleConfig
from ..events.vocabulary import TYPED_TOPIC_KEYS
from .keys import RELOAD, RESTART, Key, Range, Section

YEAR_S: Final = 31_536_000
# The keys of kafka.topics that name what is produced to, in the order of `OutputTopics`.
OUTPUT_TOPIC_KEYS: Final = (*TYPED_TOPIC_KEYS, "dead_letter")
TIME_TO_LIVE: Final = Range(1, 10 * YEAR_S, "seconds", "it is a time to live")


class TopicsConfig(Section):
    observability_events: Annotated[str, Key("The input.", RESTART)] = "observability.events"
    logs: Annotated[str, Key("Where events of type log go.", RESTART)] = "observability.logs"
    metrics: Annotated[str, Key("Where events of type metric go.", RESTART)] = "observability.metrics"
    alerts: Annotated[str, Key("Where events of type alert go.", RESTART)] = "observability.alerts"
    traces: Annotated[str, Key("Where events of type trace go.", RESTART)] = "observability.traces"
    health_checks: Annotated[str, Key("Where events of type health go, and the daemon's own.", RESTART)] = (
        "observability.health"
    )
    dead_letter: Annotated[str, Key("Where bad events go, unchanged, with the reason in headers.", RESTART)] = (
        "observability.dead_letter"
    )
    raw_data: Annotated[str | None, Key("An old topic: its messages become log events; null: none.", RESTART)] = None
    processed_data: Annotated[str | None, Key("An old topic: its messages become alerts; null: none.", RESTART)] = None

    def outputs(self) -> tuple[str, ...]:
        """The typed topics in EventType's order, then the dead letters'."""
        return tuple(getattr(self, key) for key in OUTPUT_TOPIC_KEYS)


class SecurityConfig(Section):
    protocol: Annotated[
        Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"],
        Key("plaintext, ssl, sasl_plaintext or sasl_ssl.", RESTART),
    ] = "plaintext"
    ca_file: Annotated[
        str | None, Key("PEM file of the authorities that sign the brokers; null: the system's.", RESTART)
    ] = None
    cert_file: Annotated[str | None, Key("PEM file of the client's certificate.", RESTART)] = None
    key_file: Annotated[str | None, Key("PEM file of the client's key.", RESTART)] = None
    key_password_file: Annotated[str | None, Key("File with the password of the key.", RESTART)] = None
    sasl_mechanism: Annotated[
        # Those of the librdkafka in confluent-kafka's wheels, which are built without Kerberos (GSSAPI).
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None,
        Key("PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.", RESTART),
    ] = None
    sasl_username: Annotated[str | None, Key("Name to log in with.", RESTART)] = None
    sasl_password_file: Annotated[str | None, Key("File with the password to log in with.", RESTART)] = None


class KafkaConfig(Section):
    brokers: Annotated[
        tuple[str, ...], Key("HOST:PORT of some brokers; the others are learned from them.", RESTART)
    ] = ("localhost:9092",)
    client_id: Annotated[
        str | None, Key("Name in the brokers' logs and quotas; null: ingestd-HOST[-INSTANCE].", RESTART)
    ] = None
    group_id: Annotated[str, Key("Consumer group; the daemons of one group share the partitions.", RESTART)] = "ingestd"
    group_instance_id: Annotated[
        str | None, Key("Static member: a restart within the session time-out moves nothing.", RESTART)
    ] = None
    group_protocol: Annotated[
        Literal["classic", "consumer"], Key("classic (cooperative-sticky), or consumer (Kafka 4).", RESTART)
    ] = "classic"
    rack: Annotated[str | None, Key("Fetches from a replica in this rack, where brokers allow it.", RESTART)] = None
    input_topics: Annotated[
        tuple[str, ...] | None,
        Key("Names, or POSIX expressions that begin with ^; null: observability_events.", RESTART),
    ] = None
    index_only_topics: Annotated[
        tuple[str, ...], Key("Read and indexed, not produced again: for who publishes typed topics.", RESTART)
    ] = ()
    auto_offset_reset: Annotated[
        Literal["earliest", "latest"], Key("earliest or latest: where a partition without a commit begins.", RESTART)
    ] = "earliest"
    topics: TopicsConfig = TopicsConfig()
    partition_by: Annotated[
        Literal["trace", "correlation", "none"],
        Key("trace, correlation or none: the ID that becomes the record's key.", RELOAD),
    ] = "trace"
    timestamp: Annotated[
        Literal["source", "now"], Key("source or now: the time of the records that are produced.", RESTART)
    ] = "source"
    security: SecurityConfig = SecurityConfig()
    consumer_options: Annotated[
        dict[str, str], Key("More options for librdkafka; those that could lose events are refused.", RESTART)
    ] = {}
    producer_options: Annotated[dict[str, str], Key("The same for the producer.", RESTART)] = {}


class SentinelConfig(Section):
    master: Annotated[str, Key("Name that the sentinels know the master by.", RESTART)]
    nodes: Annotated[tuple[str, ...], Key("HOST:PORT of the sentinels.", RESTART)]


class TlsConfig(Section):
    ca_file: Annotated[
        str | None, Key("PEM file of the authorities that sign the server; null: the system's.", RESTART)
    ] = None
    cert_file: Annotated[str | None, Key("PEM file of the client's certificate.", RESTART)] = None
    key_file: Annotated[str | None, Key("PEM file of the client's key.", RESTART)] = None


class RedisConfig(Section):
    url: Annotated[str, Key("redis://HOST:PORT/DATABASE, rediss:// (TLS), unix:///PATH; no password.", RESTART)] = (
        "redis://localhost:6379/0"
    )
    sentinel: Annotated[
        SentinelConfig | None,
        Key("{master: NAME, nodes: [HOST:PORT]}: the sentinels say where the master is.", RESTART),
    ] = None
    username: Annotated[str | None, Key("ACL user; null: the default user.", RELOAD)] = None
    password_file: Annotated[str | None, Key("File with the password.", RELOAD)] = None
    tls: TlsConfig = TlsConfig()
    reply_timeout_ms: Annotated[
        int,
        Key("Milliseconds without a reply after which Redis is dialled again.", RELOAD),
        Range(100, 600_000, "milliseconds", "a lost connection is noticed after it"),
    ] = 5000
    wait_replicas: Annotated[
        int,
        Key("Replicas that must have a batch before its offsets are stored.", RESTART),
        Range(0, 16, "replicas", "it is a number of replicas"),
    ] = 0
    on_unavailable: Annotated[
        Literal["block", "skip"], Key("block: wait for Redis; skip: go on without the index, counted.", RELOAD)
    ] = "block"
    on_full: Annotated[
        Literal["block", "skip"],
        Key("block: wait for memory in Redis; skip: go on without the index, counted.", RELOAD),
    ] = "block"


class StorageConfig(Section):
    layout: Annotated[
        Literal["full", "compact"], Key("full: all keys; compact: each event once, under events:TYPE:ID.", RELOAD)
    ] = "full"
    types: Annotated[
        tuple[Literal["log", "metric", "alert", "trace", "health"], ...],
        Key("Types of event that are kept in Redis.", RELOAD),
    ] = ("log", "metric", "alert", "trace", "health")
    indexes: Annotated[
        tuple[Literal["correlation", "trace"], ...],
        Key("Sorted sets that are kept: by correlation ID, by trace ID.", RELOAD),
    ] = ("correlation", "trace")
    index_members_max: Annotated[
        int,
        Key("Members of one index; beyond it the oldest are trimmed and counted.", RELOAD),
        Range(16, 100_000_000, "members", "an index is trimmed to it"),
    ] = 10000
    events_ttl_s: Annotated[int, Key("Seconds that events:TYPE:ID lives (a day).", RELOAD), TIME_TO_LIVE] = 86400
    logs_ttl_s: Annotated[int, Key("Seconds that logs:LEVEL:ID lives (a day).", RELOAD), TIME_TO_LIVE] = 86400
    error_logs_ttl_s: Annotated[
        int, Key("The same in seconds for levels error and fatal (7 days).", RELOAD), TIME_TO_LIVE
    ] = 604800
    traces_ttl_s: Annotated[int, Key("Seconds that traces:TRACE:SPAN lives (7 days).", RELOAD), TIME_TO_LIVE] = 604800
    alerts_ttl_s: Annotated[int, Key("Seconds that alert_events:ID lives (90 days).", RELOAD), TIME_TO_LIVE] = 7776000


class EventStreamingConfig(Section):
    correlation_id_header: Annotated[
        str, Key("Kafka header with the correlation ID of an event that has none.", RELOAD)
    ] = "X-Correlation-ID"
    trace_id_header: Annotated[str, Key("Header of the client library for the trace ID.", RELOAD)] = "X-Trace-ID"
    span_id_header: Annotated[str, Key("Header of the client library for the span ID.", RELOAD)] = "X-Span-ID"
    service_name: Annotated[str, Key("`service` of the daemon's own health events.", RELOAD)] = "realtime-data-pipeline"
    enable_distributed_tracing: Annotated[bool, Key("false: the trace index is not written.", RELOAD)] = True
    enable_correlation_tracking: Annotated[bool, Key("false: the correlation index is not written.", RELOAD)] = True
    trace_sampling_rate: Annotated[
        float,
        Key("Share (0 to 1) of traces that the client library keeps.", RELOAD),
        Range(0, 1, "share", "it is a share of all traces"),
    ] = 0.1


class ObservabilityConfig(Section):
    event_streaming: EventStreamingConfig = EventStreamingConfig()


class FloodConfig(Section):
    max_ratio: Annotated[
        float,
        Key("Share (0 to 1) of bad events beyond which health is unhealthy.", RELOAD),
        Range(0, 1, "share", "it is a share of the events", above=True),
    ] = 0.5
    window_s: Annotated[
        int,
        Key("Seconds over which the share is taken.", RELOAD),
        Range(1, 86_400, "seconds", "every report within it is held in memory"),
    ] = 60
    min_events: Annotated[
        int,
        Key("Events in the window below which nothing is called a flood.", RELOAD),
        Range(1, 1 << 62, "events", "it is a number of events"),
    ] = 1000


class PipelineConfig(Section):
    batch_events_max: Annotated[
        int,
        Key("Events that are taken from Kafka at once.", RELOAD),
        Range(1, 100_000, "events", "a batch's arrays are allocated for it"),
    ] = 2000
    in_flight_events_max: Annotated[
        int,
        Key("Events taken and not finished, beyond which nothing more is taken.", RELOAD),
        Range(1, 10_000_000, "events", "each event in flight holds memory"),
    ] = 10000
    event_bytes_max: Annotated[
        int,
        Key("Bytes of the largest event; a larger one is a dead letter.", RESTART),
        Range(1024, 64 << 20, "bytes", "brokers do not carry larger records"),
    ] = 1048576
    memory_limit_mib: Annotated[
        int,
        Key("MiB for prefetch, held events, producer queue and Redis buffers together.", RESTART),
        Range(32, 1 << 20, "MiB", "below it not one fetch fits"),
    ] = 192
    commit_interval_ms: Annotated[
        int,
        Key("Milliseconds between commits of stored offsets.", RESTART),
        Range(10, 60_000, "milliseconds", "a restart reads again what was not committed"),
    ] = 1000
    drain_timeout_ms: Annotated[
        int,
        Key("Milliseconds that a stop or a rebalance waits for what is in flight.", RELOAD),
        Range(100, 300_000, "milliseconds", "a rebalance waits for it"),
    ] = 10000
    dead_letter: FloodConfig = FloodConfig()


class HealthConfig(Section):
    interval_s: Annotated[
        int,
        Key("Seconds between health events; a change is sent at once.", RELOAD),
        Range(1, 3600, "seconds", "health events come at it"),
    ] = 10
    lag_warning_records: Annotated[
        int,
        Key("Records behind from which lag is degraded.", RELOAD),
        Range(1, 1 << 62, "records", "it is a number of records"),
    ] = 100000
    lag_warning_s: Annotated[
        int,
        Key("Seconds behind from which lag is degraded.", RELOAD),
        Range(1, YEAR_S, "seconds", "it is a time"),
    ] = 60


class HttpConfig(Section):
    listen: Annotated[
        str | None,
        Key(
            "HOST:PORT, the path of a socket (mode 0660), or null. No authentication. "
            "/ping, /ready, /metrics, /version, /status; see docs/monitoring.",
            RESTART,
        ),
    ] = "127.0.0.1:9464"


class ControlConfig(Section):
    socket: Annotated[
        str | None, Key("Path for top, tap, reload; null: $RUNTIME_DIRECTORY/control.sock or none.", RESTART)
    ] = None

    def socket_path(self) -> str | None:
        """Where the control socket is: `socket`, else in the runtime directory that systemd gives, else nowhere."""
        if self.socket is not None:
            return self.socket
        folder = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
        return f"{folder}/control.sock" if folder else None


class LoggingConfig(Section):
    level: Annotated[Literal["debug", "info", "warning", "error"], Key("debug, info, warning or error.", RELOAD)] = (
        "info"
    )
    format: Annotated[
        Literal["auto", "json", "plain"],
        Key("auto: journald under systemd, plain on a terminal, else json; or json, plain.", RESTART),
    ] = "auto"


class Config(Section):
    kafka: KafkaConfig = KafkaConfig()
    redis: RedisConfig = RedisConfig()
    storage: StorageConfig = StorageConfig()
    observability: ObservabilityConfig = ObservabilityConfig()
    rules: Annotated[
        tuple[RuleConfig, ...],
        Key(
            "Walked in order for each event: drop, keep and route end the walk; the others go on.",
            RELOAD,
        ),
    ] = ()
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
