"""From the config to librdkafka's options. Config in, two dicts of strings out. Pure.

Every value that is not librdkafka's default says why. What would break "nothing lost" can't be overridden.
"""

from typing import Final

from ..errors import Problem
from .schema import Config, KafkaConfig, read_secret, secret_path

MIB: Final = 1 << 20
# The record around a value: key, headers, and the dead letter's own headers.
RECORD_MARGIN_BYTES: Final = 64 * 1024
# pipeline.memory_limit_mib is split so: what librdkafka fetched ahead (it may overshoot by one reply a broker, which
# the second share covers), what the pipeline holds (payloads, Redis bytes), and the producer's own book-keeping.
PREFETCH_SHARE: Final = 0.20
FETCH_REPLY_SHARE: Final = 0.10
HELD_SHARE: Final = 0.50
# librdkafka's own bounds of queued.max.messages.kbytes and max.partition.fetch.bytes: a larger memory limit stops here.
PREFETCH_KIB_MAX: Final = 2_097_151
FETCH_REPLY_BYTES_MAX: Final = 1_000_000_000

# Options that the daemon's promises rest on, with the reason that `validate` gives.
FORBIDDEN_CONSUMER: Final = {
    "enable.auto.offset.store": "offsets are stored only after every sink has finished",
    "enable.auto.commit": "librdkafka commits what was stored, and retries that",
    "auto.commit.interval.ms": "it is pipeline.commit_interval_ms",
    "auto.offset.reset": "records must not be skipped without a word; use kafka.auto_offset_reset",
    "enable.partition.eof": "it puts errors into the record stream",
    "isolation.level": "uncommitted records of a transaction would be taken for facts",
    "group.id": "it is kafka.group_id",
    "group.instance.id": "it is kafka.group_instance_id",
    "group.protocol": "it is kafka.group_protocol",
    "bootstrap.servers": "it is kafka.brokers",
    "metadata.broker.list": "it is kafka.brokers",
    "queued.max.messages.kbytes": "it is derived from pipeline.memory_limit_mib",
    "fetch.max.bytes": "it is derived from pipeline.memory_limit_mib",
    "offset.store.method": "only offsets that the broker holds are committed when a partition is given back",
    "log.queue": "the daemon reads librdkafka's log itself",
}
FORBIDDEN_PRODUCER: Final = {
    "acks": "a record counts only when all in-sync replicas have it",
    "request.required.acks": "a record counts only when all in-sync replicas have it",
    "enable.idempotence": "retries would double records",
    "message.timeout.ms": "a time-out reports failure of what may have been written",
    "delivery.timeout.ms": "a time-out reports failure of what may have been written",
    "max.in.flight": "more than 5 would break idempotence",
    "max.in.flight.requests.per.connection": "more than 5 would break idempotence",
    "delivery.report.only.error": "a record that arrived would never be reported, and its batch would wait for ever",
    "queuing.strategy": "records of a trace would leave their order",
    "retries": "giving up would lose the record",
    "message.send.max.retries": "giving up would lose the record",
    "transactional.id": "the daemon does not use transactions",
    "partitioner": "a trace must stay in one partition, as the Java clients place it",
    "message.max.bytes": "it is derived from pipeline.event_bytes_max",
    "queue.buffering.max.kbytes": "it is derived from pipeline.memory_limit_mib; a larger record would wait for ever",
    "bootstrap.servers": "it is kafka.brokers",
    "metadata.broker.list": "it is kafka.brokers",
    "log.queue": "the daemon reads librdkafka's log itself",
}


def held_bytes_max(config: Config) -> int:
    """Payloads and Redis bytes that the pipeline may hold at once."""
    return int(config.pipeline.memory_limit_mib * MIB * HELD_SHARE)


def message_bytes_max(config: Config) -> int:
    """The largest record that is produced: the largest event with its headers."""
    return config.pipeline.event_bytes_max + RECORD_MARGIN_BYTES


def client_options(kafka: KafkaConfig, client_id: str) -> dict[str, str]:
    """What every handle needs to reach the cluster, also the control plane's."""
    options = {
        "bootstrap.servers": ",".join(kafka.brokers),
        "client.id": client_id,
        "security.protocol": kafka.security.protocol,
        # The default of 10 s keeps a restarted broker waiting for its client.
        "reconnect.backoff.max.ms": "2000",
    }
    security = kafka.security
    files = {
        "ssl.ca.location": security.ca_file,
        "ssl.certificate.location": security.cert_file,
        "ssl.key.location": security.key_file,
    }
    options |= {key: str(secret_path(value)) for key, value in files.items() if value}
    if security.key_password_file:
        options["ssl.key.password"] = read_secret(security.key_password_file)
    if security.sasl_mechanism:
        options["sasl.mechanism"] = security.sasl_mechanism
    if security.sasl_username:
        options["sasl.username"] = security.sasl_username
    if security.sasl_password_file:
        options["sasl.password"] = read_secret(security.sasl_password_file)
    return options


def consumer_options(config: Config, client_id: str) -> dict[str, str]:
    """Options of the source's handle."""
    kafka, pipeline = config.kafka, config.pipeline
    prefetch_kib = min(int(pipeline.memory_limit_mib * 1024 * PREFETCH_SHARE), PREFETCH_KIB_MAX)
    reply_share_bytes = min(int(pipeline.memory_limit_mib * MIB * FETCH_REPLY_SHARE), FETCH_REPLY_BYTES_MAX)
    reply_bytes = max(reply_share_bytes, message_bytes_max(config))
    options = client_options(kafka, client_id) | {
        "group.id": kafka.group_id,
        "enable.auto.offset.store": "false",
        # librdkafka retries its own commits of stored offsets, also with STALE_MEMBER_EPOCH, and not manual ones.
        "enable.auto.commit": "true",
        "auto.commit.interval.ms": str(pipeline.commit_interval_ms),
        "auto.offset.reset": "error",
        # With the default of 1000 a fast consumer stands 0.7 s when its queue fills: 150k against 350k events/s.
        "fetch.queue.backoff.ms": "5",
        # Short queues stay in the processor's cache: with 100,000 messages and 1 MiB a partition every event was read
        # from memory three times, which cost a tenth of the whole and 150 MiB (decision 0004).
        "queued.min.messages": "10000",
        "queued.max.messages.kbytes": str(prefetch_kib),
        "fetch.max.bytes": str(reply_bytes),
        # A larger record comes all the same: the broker gives at least one batch.
        "max.partition.fetch.bytes": str(256 * 1024),
        # A topic that is missing is waited for, and said in the log by the daemon.
        "allow.auto.create.topics": "false",
    }
    if kafka.group_protocol == "consumer":
        options["group.protocol"] = "consumer"
    else:
        options["partition.assignment.strategy"] = "cooperative-sticky"
    if kafka.group_instance_id:
        options["group.instance.id"] = kafka.group_instance_id
    if kafka.rack:
        options["client.rack"] = kafka.rack
    return options | kafka.consumer_options


def producer_options(config: Config, client_id: str) -> dict[str, str]:
    """Options of the typed topics' handle."""
    options = client_options(config.kafka, client_id) | {
        "acks": "all",
        "enable.idempotence": "true",
        "max.in.flight.requests.per.connection": "5",
        # The default of 300 s reports failure of what may have been written; 0 waits, as Kafka holds the source.
        "message.timeout.ms": "0",
        "message.max.bytes": str(message_bytes_max(config)),
        # Larger producer batches cost the broker 0.6 instead of 2 to 5 µs an event; past 5 ms nothing is won at full
        # load, and an idle topic's events wait for it.
        "linger.ms": "5",
        "batch.size": "1000000",
        "batch.num.messages": "20000",
        "compression.type": "lz4",
        "partitioner": "murmur2_random",
        # Never the limit that is met first: the pipeline's own limits are, and the payloads are not copied.
        "queue.buffering.max.messages": str(4 * config.pipeline.in_flight_events_max),
        "queue.buffering.max.kbytes": str(config.pipeline.memory_limit_mib * 1024),
    }
    return options | config.kafka.producer_options


def single_record_options(config: Config, client_id: str) -> dict[str, str]:
    """Options of the handle that sends again, one record a request, what was refused together with others."""
    return producer_options(config, client_id) | {"batch.num.messages": "1", "linger.ms": "0"}


def forbidden_options(kafka: KafkaConfig) -> list[Problem]:
    """The user's options that would break a promise."""
    problems = []
    for section, given, forbidden in (
        ("consumer_options", kafka.consumer_options, FORBIDDEN_CONSUMER),
        ("producer_options", kafka.producer_options, FORBIDDEN_PRODUCER),
    ):
        problems += [
            Problem(f"kafka.{section}.{key}", "may not be set", forbidden[key]) for key in given if key in forbidden
        ]
    return problems
