"""The options of a consumer: the keywords that a program gives, and the settings with their defaults, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypedDict

from ...config.kafka_consumers import ensure_client_consumer_options
from ..context import PLAIN_CORRELATION

# How long one call of librdkafka may keep a thread from looking whether it is to stop.
SLICE_S: Final = 0.2


class ConsumerOptions(TypedDict, total=False):
    """The keyword options of every consumer; their meaning and defaults are in `ConsumerSettings`."""

    dead_letter_topic: str
    retries: int
    retry_first_s: float
    retry_max_s: float
    retry_on: tuple[type[BaseException], ...]
    auto_offset_reset: Literal["earliest", "latest"]
    batch_events_max: int
    commit_interval_s: float
    close_timeout_s: float
    dead_letter_timeout_s: float
    idle_stop_s: float | None
    correlation_id_header: str
    kafka_options: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ConsumerSettings:
    """How a consumer behaves.

    dead_letter_topic: where events go that can't be read, and those whose handler failed for the last time.
    retries: how often a handler is called again after it raised; between them `retry_first_s`, doubling up to
    `retry_max_s`. retry_on: the exceptions that count as failures of the event; others end the consumer.
    auto_offset_reset: where a partition begins of which the group has committed nothing. Where its commit is not in the
    log any more, it goes on at the log's start, and what was missed is counted and logged.
    idle_stop_s: end when nothing has come for so long since the group took us in; None: never.
    kafka_options: more options for librdkafka.
    """

    dead_letter_topic: str = "observability.dead_letter"
    retries: int = 5
    retry_first_s: float = 0.1
    retry_max_s: float = 5.0
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    auto_offset_reset: Literal["earliest", "latest"] = "earliest"
    batch_events_max: int = 500
    commit_interval_s: float = 1.0
    close_timeout_s: float = 10.0
    dead_letter_timeout_s: float = 60.0
    idle_stop_s: float | None = None
    correlation_id_header: str = "X-Correlation-ID"
    kafka_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ensure_client_consumer_options(self.kafka_options)
        if self.batch_events_max < 1 or self.retries < 0:
            raise ValueError("batch_events_max must be at least 1, retries at least 0")

    @property
    def correlation_headers(self) -> list[str]:
        """The headers that may carry a correlation id, the first that does counts."""
        return [self.correlation_id_header, PLAIN_CORRELATION]
