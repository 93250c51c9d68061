"""Options of every consumer: the daemon's source, the client library's, and those that only read beside a group.

Every value that is not librdkafka's default says why. What would break a promise can't be overridden.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ..errors import Problem
from .kafka_connection import RECONNECT, daemon_connection_options, message_bytes_max, side_connection_options

# A program that only publishes or consumes has no config, and does not load its schema.
if TYPE_CHECKING:
    from .schema import Config, KafkaConfig

MIB: Final = 1 << 20
# pipeline.memory_limit_mib is split so: what librdkafka fetched ahead (it may overshoot by one reply a broker, which
# the second share covers), what the pipeline holds (payloads, Redis bytes), and the producer's own book-keeping.
PREFETCH_SHARE: Final = 0.20
FETCH_REPLY_SHARE: Final = 0.10
HELD_SHARE: Final = 0.50
# librdkafka's own bounds of queued.max.messages.kbytes and max.partition.fetch.bytes: a larger memory limit stops here.
PREFETCH_KIB_MAX: Final = 2_097_151
FETCH_REPLY_BYTES_MAX: Final = 1_000_000_000

# What every member of a group has, the daemon and the client library: option -> (value, why nobody may set another).
PROMISES: Final = {
    "enable.auto.offset.store": ("false", "offsets are stored only when what was made from a record has an end"),
    # Non-obvious: offsets are stored, never committed by us.
    # librdkafka retries its own commits of stored offsets, also with STALE_MEMBER_EPOCH, and not manual ones.
    "enable.auto.commit": ("true", "librdkafka commits what was stored, and retries that"),
    "auto.offset.reset": ("error", "records must not be skipped without a word; use {reset}"),
}
PROMISED: Final = {name: value for name, (value, _) in PROMISES.items()}
# Non-obvious: at the default of fetch.queue.backoff.ms a fast consumer stands still whenever its queue was full.
# That is 1000; it stood for 0.7 s: 150k against 350k events/s.
NO_STALL: Final = {"fetch.queue.backoff.ms": "5"}
# The group is never joined and nothing is committed; a place that was deleted is an error, not a record from elsewhere.
READS_ONLY: Final = {"enable.auto.commit": "false", "auto.offset.reset": "error", "log_level": "0"}


def _refused(reset: str, more: Mapping[str, str]) -> dict[str, str]:
    return {name: why.format(reset=reset) for name, (_, why) in PROMISES.items()} | dict(more)


# What may not be set in kafka.consumer_options, with the reason that `validate` gives.
REFUSED_FOR_DAEMON: Final = _refused(
    "kafka.auto_offset_reset",
    {
        "auto.commit.interval.ms": "it is pipeline.commit_interval_ms",
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
    },
)
# What a program may not set in `kafka_options` of a consumer of the client library.
REFUSED_FOR_CLIENT: Final = _refused(
    "the option auto_offset_reset",
    {
        "bootstrap.servers": "it is the argument brokers",
        "metadata.broker.list": "it is the argument brokers",
        "group.id": "it is the argument group_id",
    },
)


def held_bytes_max(config: Config) -> int:
    """Payloads and Redis bytes that the pipeline may hold at once."""
    return int(config.pipeline.memory_limit_mib * MIB * HELD_SHARE)


def daemon_consumer_options(config: Config, client_id: str) -> dict[str, str]:
    """For the handle of the source."""
    kafka, pipeline = config.kafka, config.pipeline
    prefetch_kib = min(int(pipeline.memory_limit_mib * 1024 * PREFETCH_SHARE), PREFETCH_KIB_MAX)
    reply_share_bytes = min(int(pipeline.memory_limit_mib * MIB * FETCH_REPLY_SHARE), FETCH_REPLY_BYTES_MAX)
    reply_bytes = max(reply_share_bytes, message_bytes_max(config))
    options = daemon_connection_options(kafka, client_id) | PROMISED | NO_STALL
    options |= {
        "group.id": kafka.group_id,
        "auto.commit.interval.ms": str(pipeline.commit_interval_ms),
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
    if kafka.group_instance_id:
        options["group.instance.id"] = kafka.group_instance_id
    if kafka.rack:
        options["client.rack"] = kafka.rack
    return _with_assignment(options | kafka.consumer_options)


def _with_assignment(options: dict[str, Any]) -> dict[str, Any]:
    """Cooperative rebalances with the classic protocol. With the new one the broker assigns, and librdkafka refuses
    a strategy."""
    if options.get("group.protocol") == "consumer":
        return options
    return {"partition.assignment.strategy": "cooperative-sticky"} | options


def client_consumer_options(
    servers: str, group_id: str, commit_interval_s: float, given: Mapping[str, Any]
) -> dict[str, Any]:
    """For a consumer of the client library. `given`: its option `kafka_options`, which may have callables."""
    options: dict[str, Any] = {"bootstrap.servers": servers, "group.id": group_id} | RECONNECT | PROMISED | NO_STALL
    options["auto.commit.interval.ms"] = str(max(10, round(commit_interval_s * 1000)))
    return _with_assignment(options | dict(given))


def ensure_client_consumer_options(given: Mapping[str, Any]) -> None:
    """Raises ValueError for what a program may not set."""
    for name in given:
        if name in REFUSED_FOR_CLIENT:
            raise ValueError(f"kafka_options: {name} may not be set: {REFUSED_FOR_CLIENT[name]}")


def record_time_options(kafka: KafkaConfig, client_id: str, fetch_bytes: int) -> dict[str, str]:
    """For the consumer that reads single records to learn their times."""
    options = side_connection_options(kafka, client_id) | READS_ONLY
    return options | {
        "group.id": kafka.group_id,
        "enable.partition.eof": "false",
        "fetch.message.max.bytes": str(fetch_bytes),
        # Nothing is fetched ahead while something waits to be looked at.
        "queued.min.messages": "1",
        "fetch.queue.backoff.ms": "10",
    }


def compare_options(kafka: KafkaConfig) -> dict[str, str]:
    """For the consumer that reads whole windows of topics."""
    options = side_connection_options(kafka, "ingestd-compare") | READS_ONLY | NO_STALL
    return options | {"group.id": "ingestd-compare", "enable.partition.eof": "true"}


def refused_consumer_options(kafka: KafkaConfig) -> list[Problem]:
    """Those of the user's that would break a promise."""
    return [
        Problem(f"kafka.consumer_options.{name}", "may not be set", REFUSED_FOR_DAEMON[name])
        for name in kafka.consumer_options
        if name in REFUSED_FOR_DAEMON
    ]
