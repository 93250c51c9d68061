"""The options of both producers: keywords, their defaults, and what they become for librdkafka. No I/O.

Every value that is not librdkafka's default says why. What would break "acknowledged, or an error" can't be set.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypedDict, cast

import msgspec

from ..context import DEFAULT_HEADER_NAMES, HeaderNames
from ..log import LOG
from .shared_producer import RefreshToken

# The record around a value: key and headers. The daemon allows as much.
RECORD_MARGIN_BYTES: Final = 64 * 1024
# librdkafka's names for what the keywords say, and what the promises rest on.
REFUSED: Final = {
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
    "acks": "an event counts only when all in-sync replicas have it",
    "request.required.acks": "an event counts only when all in-sync replicas have it",
    "enable.idempotence": "retries would double events",
    "delivery.report.only.error": "the future of an event that arrived would never be done",
    "on_delivery": "each event has a future",
    "dr_cb": "each event has a future",
    "error_cb": "errors are lines of the log",
    "logger": "it is the option log",
    "log.queue": "librdkafka's lines go to the option log",
    "stats_cb": "statistics are not passed on",
    "throttle_cb": "throttling is not passed on",
    "partitioner": "a trace must stay in one partition, where the Java clients and ingestd place it",
    "transactional.id": "there are no transactions here",
}


class ProducerOptions(TypedDict, total=False):
    """The keywords of both producers.

    linger_ms: how long an event may wait for others to share its request. 5.
    queue_events_max, queue_mib_max: what may wait for Kafka, in events and MiB of them. 100,000 and 64.
    queue_timeout_s: how long publishing blocks on a full queue before QueueFull. 10.
    delivery_timeout_s: an event that is not acknowledged by then fails. 120.
    close_timeout_s: how long `close`, and the end of a `with` block or of the program, wait for what is under way. 30.
    event_bytes_max: the largest event, as JSON; the daemon's `pipeline.event_bytes_max`. 1,048,576.
    compression: none, gzip, snappy, lz4 or zstd. lz4.
    client_id: as the brokers' logs have it. The service.
    header_names: the headers of the ids. X-Correlation-ID, X-Trace-ID, X-Span-ID.
    librdkafka: its own options on top, such as `security.protocol`; those that the promises rest on are refused. Beside
    them `oauth_cb`, for SASL/OAUTHBEARER: called with `sasl.oauthbearer.config` when a token is wanted, gives (token,
    expiry in seconds since the epoch), and if need be a principal and a dict of extensions.
    log: where librdkafka's lines and lost events are said. The logger `ingestd.client`.
    """

    linger_ms: float
    queue_events_max: int
    queue_mib_max: int
    queue_timeout_s: float
    delivery_timeout_s: float
    close_timeout_s: float
    event_bytes_max: int
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"]
    client_id: str
    header_names: HeaderNames
    librdkafka: Mapping[str, object]
    log: logging.Logger


class ProducerSettings(msgspec.Struct, frozen=True):
    """The options with their defaults. `librdkafka` is complete, and written as librdkafka reads it."""

    librdkafka: dict[str, str]
    refresh_token: RefreshToken | None
    queue_timeout_s: float
    close_timeout_s: float
    event_bytes_max: int
    header_names: HeaderNames
    log: logging.Logger


def as_text(name: str, value: object) -> str:
    """A value of librdkafka's own options as it reads it. Raises ValueError."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"librdkafka: {name}: {value!r} is not a string, number or bool")


def settle(brokers: str | Sequence[str], service: str, options: ProducerOptions) -> ProducerSettings:
    """Raises TypeError for an option that is unknown, ValueError for one that may not be set."""
    for name in options:
        if name not in ProducerOptions.__annotations__:
            raise TypeError(f"unknown option {name!r}; known: {', '.join(ProducerOptions.__annotations__)}")
    given = dict(options.get("librdkafka", {}))
    for name in given:
        if name in REFUSED:
            raise ValueError(f"librdkafka: {name} may not be set: {REFUSED[name]}")
    refresh_token = given.pop("oauth_cb", None)
    if refresh_token is not None and not callable(refresh_token):
        raise ValueError(f"librdkafka: oauth_cb: {refresh_token!r} can't be called")
    servers = brokers if isinstance(brokers, str) else ",".join(brokers)
    if not servers:
        raise ValueError("brokers: none is given")
    event_bytes_max = options.get("event_bytes_max", 1_048_576)
    librdkafka = {
        "bootstrap.servers": servers,
        "client.id": options.get("client_id", service),
        "acks": "all",
        "enable.idempotence": True,
        "message.timeout.ms": round(options.get("delivery_timeout_s", 120.0) * 1000),
        "message.max.bytes": event_bytes_max + RECORD_MARGIN_BYTES,
        "linger.ms": options.get("linger_ms", 5),
        # Larger batches cost the broker 0.6 instead of 2 to 5 µs an event.
        "batch.size": 1_000_000,
        "compression.type": options.get("compression", "lz4"),
        "partitioner": "murmur2_random",
        "queue.buffering.max.messages": options.get("queue_events_max", 100_000),
        "queue.buffering.max.kbytes": options.get("queue_mib_max", 64) * 1024,
        # The default of 10 s keeps a restarted broker waiting for its client.
        "reconnect.backoff.max.ms": 2000,
    }
    return ProducerSettings(
        {name: as_text(name, value) for name, value in (librdkafka | given).items()},
        cast(RefreshToken | None, refresh_token),
        options.get("queue_timeout_s", 10.0),
        options.get("close_timeout_s", 30.0),
        event_bytes_max,
        options.get("header_names", DEFAULT_HEADER_NAMES),
        options.get("log", LOG),
    )
