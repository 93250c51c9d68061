"""Options of every producer: the daemon's, the client library's, and those of its dead letters and of its old form.

Every value that is not librdkafka's default says why. What would break a promise can't be overridden.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import Problem
from .kafka_connection import (
    RECONNECT,
    RECORD_MARGIN_BYTES,
    connection_part,
    daemon_connection_options,
    message_bytes_max,
)

# A program that only publishes or consumes has no config, and does not load its schema.
if TYPE_CHECKING:
    from .schema import Config, KafkaConfig


class Promise(NamedTuple):
    """An option that "nothing lost, nothing doubled, one key in one partition" rests on. It has `value` in every
    producer, None: librdkafka's default. Nobody may set it, nor one of its other `names`, because of `why`."""

    value: str | None
    names: tuple[str, ...]
    why: str


PROMISES: Final = {
    "acks": Promise("all", ("request.required.acks",), "a record counts only when all in-sync replicas have it"),
    "enable.idempotence": Promise("true", (), "retries would double records"),
    "max.in.flight.requests.per.connection": Promise("5", ("max.in.flight",), "more than 5 would break idempotence"),
    "partitioner": Promise(
        "murmur2_random", (), "a trace must stay in one partition, as the Java clients and ingestd place it"
    ),
    "delivery.report.only.error": Promise(
        None, (), "a record that arrived would never be reported, and be waited for for ever"
    ),
    "transactional.id": Promise(None, (), "there are no transactions here"),
    "queuing.strategy": Promise(None, (), "records of a trace would leave their order"),
}
PROMISED: Final = {name: promise.value for name, promise in PROMISES.items() if promise.value is not None}
_PROMISE_REASONS: Final = {alias: promise.why for name, promise in PROMISES.items() for alias in (name, *promise.names)}
# Larger producer batches cost the broker 0.6 instead of 2 to 5 µs an event; past 5 ms nothing is won at full load, and
# an idle topic's events wait for it.
BATCHING: Final = {"linger.ms": "5", "batch.size": "1000000", "compression.type": "lz4"}
# A dead letter is tried again by its consumer, so one try may end.
DEAD_LETTER_TIMEOUT_S: Final = 10.0
# The broker's own limit is the one that counts.
DEAD_LETTER_BYTES_MAX: Final = 100_000_000

# What may not be set in kafka.producer_options, with the reason that `validate` gives.
REFUSED_FOR_DAEMON: Final = _PROMISE_REASONS | {
    "message.timeout.ms": "a time-out reports failure of what may have been written",
    "delivery.timeout.ms": "a time-out reports failure of what may have been written",
    "retries": "giving up would lose the record",
    "message.send.max.retries": "giving up would lose the record",
    "message.max.bytes": "it is derived from pipeline.event_bytes_max",
    "queue.buffering.max.kbytes": "it is derived from pipeline.memory_limit_mib; a larger record would wait for ever",
    "bootstrap.servers": "it is kafka.brokers",
    "metadata.broker.list": "it is kafka.brokers",
    "log.queue": "the daemon reads librdkafka's log itself",
}
# What a program may not set in the option `librdkafka` of a producer of the client library.
REFUSED_FOR_CLIENT: Final = _PROMISE_REASONS | {
    "bootstrap.servers": "it is the argument brokers",
    "metadata.broker.list": "it is the argument brokers",
    "client.id": "it is the option client_id",
    "linger.ms": "it is the option linger_ms",
    "queue.buffering.max.ms": "it is the option linger_ms",
    "queue.buffering.max.messages": "it is the option queue_events_max",
    "queue.buffering.max.kbytes": "it is the option queue_mib_max",
    "message.timeout.ms": "it is the option delivery_timeout_s",
    "delivery.timeout.ms": "it is the option delivery_timeout_s",
    "message.max.bytes": "it is the option event_bytes_max",
    "compression.type": "it is the option compression",
    "compression.codec": "it is the option compression",
    "on_delivery": "each event has a future",
    "dr_cb": "each event has a future",
    "error_cb": "errors are lines of the log",
    "logger": "it is the option log",
    "log.queue": "librdkafka's lines go to the option log",
    "stats_cb": "statistics are not passed on",
    "throttle_cb": "throttling is not passed on",
}


def daemon_producer_options(config: Config, client_id: str) -> dict[str, str]:
    """For the handle of the typed topics."""
    options = daemon_connection_options(config.kafka, client_id) | PROMISED | BATCHING
    options |= {
        # Non-obvious: the default of message.timeout.ms, 300 s, reports as failed what may have been written.
        # 0 waits, as Kafka holds the source.
        "message.timeout.ms": "0",
        "message.max.bytes": str(message_bytes_max(config)),
        "batch.num.messages": "20000",
        # Never the limit that is met first: the pipeline's own limits are, and the payloads are not copied.
        "queue.buffering.max.messages": str(4 * config.pipeline.in_flight_events_max),
        "queue.buffering.max.kbytes": str(config.pipeline.memory_limit_mib * 1024),
    }
    return options | config.kafka.producer_options


def daemon_single_record_options(config: Config, client_id: str) -> dict[str, str]:
    """For the handle that sends again, one record a request, what was refused together with others."""
    return daemon_producer_options(config, client_id) | {"batch.num.messages": "1", "linger.ms": "0"}


def client_producer_options(
    servers: str,
    client_id: str,
    *,
    delivery_timeout_s: float,
    event_bytes_max: int,
    linger_ms: float,
    compression: str,
    queue_events_max: int,
    queue_mib_max: int,
    given: Mapping[str, object],
) -> dict[str, str]:
    """For a producer of events of the client library. `given`: its option `librdkafka`. Raises ValueError."""
    for name in given:
        if name in REFUSED_FOR_CLIENT:
            raise ValueError(f"librdkafka: {name} may not be set: {REFUSED_FOR_CLIENT[name]}")
    options = {"bootstrap.servers": servers, "client.id": client_id} | RECONNECT | PROMISED | BATCHING
    options |= {
        "message.timeout.ms": str(round(delivery_timeout_s * 1000)),
        "message.max.bytes": str(event_bytes_max + RECORD_MARGIN_BYTES),
        "linger.ms": str(linger_ms),
        "compression.type": compression,
        "queue.buffering.max.messages": str(queue_events_max),
        "queue.buffering.max.kbytes": str(queue_mib_max * 1024),
    }
    return options | {name: as_text(name, value) for name, value in given.items()}


def client_dead_letter_options(servers: str, consumer_options: Mapping[str, Any]) -> dict[str, Any]:
    """For the producer of a consumer's dead letters. Of the consumer's own options it takes those that reach the
    brokers, with the callable `oauth_cb`."""
    options: dict[str, Any] = {"bootstrap.servers": servers} | RECONNECT | connection_part(consumer_options)
    if "client.id" in consumer_options:
        options["client.id"] = consumer_options["client.id"]
    return options | PROMISED | {
        "linger.ms": "5",
        "message.timeout.ms": str(round(DEAD_LETTER_TIMEOUT_S * 1000)),
        "message.max.bytes": str(DEAD_LETTER_BYTES_MAX),
    }  # fmt: skip


def client_message_producer_options(servers: str, timeout_s: float, given: Mapping[str, Any]) -> dict[str, Any]:
    """For the producer of single messages of any form, each of which is waited for. Raises ValueError."""
    for name in given:
        if name in _PROMISE_REASONS:
            raise ValueError(f"kafka_options: {name} may not be set: {_PROMISE_REASONS[name]}")
    options: dict[str, Any] = {"bootstrap.servers": servers} | RECONNECT | PROMISED
    return options | {"linger.ms": "0", "message.timeout.ms": str(max(1, round(timeout_s * 1000)))} | dict(given)


def as_text(name: str, value: object) -> str:
    """A value of librdkafka's own options as it reads it. Raises ValueError."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"librdkafka: {name}: {value!r} is not a string, number or bool")


def refused_producer_options(kafka: KafkaConfig) -> list[Problem]:
    """Those of the user's that would break a promise."""
    return [
        Problem(f"kafka.producer_options.{name}", "may not be set", REFUSED_FOR_DAEMON[name])
        for name in kafka.producer_options
        if name in REFUSED_FOR_DAEMON
    ]
