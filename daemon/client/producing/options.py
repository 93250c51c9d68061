"""The options of both producers: keywords and defaults. What they are to librdkafka: `config.kafka_producers`."""

import logging
from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict, cast

import msgspec

from ...config.kafka_connection import servers_text
from ...config.kafka_producers import client_producer_options
from ..context import DEFAULT_HEADER_NAMES, HeaderNames
from ..log import LOG
from .shared_producer import RefreshToken


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


def settle(brokers: str | Sequence[str], service: str, options: ProducerOptions) -> ProducerSettings:
    """Raises TypeError for an option that is unknown, ValueError for one that may not be set."""
    for name in options:
        if name not in ProducerOptions.__annotations__:
            raise TypeError(f"unknown option {name!r}; known: {', '.join(ProducerOptions.__annotations__)}")
    given = dict(options.get("librdkafka", {}))
    refresh_token = given.pop("oauth_cb", None)
    if refresh_token is not None and not callable(refresh_token):
        raise ValueError(f"librdkafka: oauth_cb: {refresh_token!r} can't be called")
    servers = servers_text(brokers)
    if not servers:
        raise ValueError("brokers: none is given")
    event_bytes_max = options.get("event_bytes_max", 1_048_576)
    librdkafka = client_producer_options(
        servers,
        options.get("client_id", service),
        delivery_timeout_s=options.get("delivery_timeout_s", 120.0),
        event_bytes_max=event_bytes_max,
        linger_ms=options.get("linger_ms", 5),
        compression=options.get("compression", "lz4"),
        queue_events_max=options.get("queue_events_max", 100_000),
        queue_mib_max=options.get("queue_mib_max", 64),
        given=given,
    )
    return ProducerSettings(
        librdkafka,
        cast(RefreshToken | None, refresh_token),
        options.get("queue_timeout_s", 10.0),
        options.get("close_timeout_s", 30.0),
        event_bytes_max,
        options.get("header_names", DEFAULT_HEADER_NAMES),
        options.get("log", LOG),
    )
