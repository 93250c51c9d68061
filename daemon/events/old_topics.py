"""Turns messages of the topics before ingestd into events, as JSON. Pure.

The same message always gives the same bytes: its id is its place in Kafka, and nothing else but its own text and its
record's time goes into it. So a redelivery is as harmless as that of an event.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from .._fastpath import UNREADABLE, Batch, json_fault
from .vocabulary import Fault

# The keys of kafka.topics that name old topics.
RAW, PROCESSED = "raw_data", "processed_data"
ZERO_TIME: Final = "0001-01-01T00:00:00Z"
# A number without a unit: below each bound it counts seconds, milliseconds, microseconds; else nanoseconds. They lie
# in the year 5138 for seconds, and in 1973 for each finer unit.
_UNITS_US: Final = ((1e11, 1_000_000.0), (1e14, 1000.0), (1e17, 1.0))
_WITHOUT_ZONE: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d+)?)", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Number = int | float


class RawMessage(msgspec.Struct):
    """One quotation. More fields may stand beside these."""

    symbol: str
    price: Number
    volume: Number | None = None
    timestamp: Number | str | None = None
    source: str | None = None


class ProcessedMessage(msgspec.Struct):
    """One quotation with what was worked out of it."""

    symbol: str
    price: Number
    volume: Number | None = None
    price_change_24h: Number | None = None
    volume_change_24h: Number | None = None
    moving_avg_5m: Number | None = None
    moving_avg_15m: Number | None = None
    moving_avg_1h: Number | None = None
    timestamp: Number | str | None = None
    processed_at: Number | str | None = None
    source: str | None = None


class _Converted(msgspec.Struct):
    """The event, in the order of the wire. `data` is the message's own text."""

    id: str
    type: str
    level: str
    service: str
    component: str
    message: str
    timestamp: str
    labels: dict[str, str]
    data: msgspec.Raw


_DECODERS: Final = {
    RAW: msgspec.json.Decoder(RawMessage).decode,
    PROCESSED: msgspec.json.Decoder(ProcessedMessage).decode,
}
# type, component (of alerts: what Go programs look for), and how the message begins
_FORMS: Final = {RAW: ("log", "ingestion", "Raw data"), PROCESSED: ("alert", "alerting", "Processed data")}
_ENCODE = msgspec.json.Encoder().encode


class NoEvent(Exception):
    """The message can't be turned into an event; `args[0]` is the Fault."""


def convert(payload: bytes, kind: str, ident: str, record_ms: int, service: str) -> bytes:
    """The event that a message stands for, as JSON. Raises NoEvent."""
    try:
        message = _DECODERS[kind](payload)
    except UNREADABLE:
        raise NoEvent(Fault(json_fault(payload)) or Fault.WRONG_SHAPE) from None
    if not message.symbol:
        raise NoEvent(Fault.WRONG_SHAPE)
    labels = {"symbol": message.symbol}
    if message.source:
        labels["source"] = message.source
    event_type, component, words = _FORMS[kind]
    return _ENCODE(
        _Converted(
            id=ident,
            type=event_type,
            level="info",
            service=service,
            component=component,
            message=f"{words}: {message.symbol} at {message.price}",
            timestamp=time_text(message.timestamp, record_ms),
            labels=labels,
            data=msgspec.Raw(payload),
        )
    )


def time_text(timestamp: Number | str | None, record_ms: int) -> str:
    """RFC 3339: the message's own time, without one the record's. Text of another form is judged by the fast path."""
    if isinstance(timestamp, str) and timestamp != ZERO_TIME:
        match = _WITHOUT_ZONE.fullmatch(timestamp)
        if timestamp:
            return f"{match[1]}T{match[2]}Z" if match else timestamp
    elif isinstance(timestamp, (int, float)) and timestamp:
        return _text_of_us(_microseconds(timestamp))
    return _text_of_us(record_ms * 1000) if record_ms > 0 else ZERO_TIME


def _microseconds(timestamp: Number) -> int:
    size = abs(timestamp)
    for bound, factor in _UNITS_US:
        if size < bound:
            return round(timestamp * factor)
    return round(timestamp / 1000)


def _text_of_us(microseconds: int) -> str:
    try:
        time = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise NoEvent(Fault.WRONG_SHAPE) from None
    return time.isoformat().removesuffix("+00:00") + "Z"


class Converter:
    """Turns the records of old topics in a batch, before it is processed. What is not converted is judged as it is.

    topics: name of an old topic -> its key in kafka.topics.
    """

    def __init__(self, topics: Mapping[str, str], service: str, event_bytes_max: int) -> None:
        self._topics = dict(topics)
        self._service = service
        self._event_bytes_max = event_bytes_max

    def __call__(self, batch: Batch, topic_of: Callable[[int], str]) -> None:
        """Runs on: the loop. Called once a batch. `topic_of`: the name of a topic that a run names by number."""
        for run_index, run in enumerate(batch.runs()):
            topic = topic_of(run.source_topic_index)
            kind = self._topics.get(topic)
            if kind is None:
                continue
            for record_index, value, offset, timestamp_ms in batch.records_of_run(run_index):
                if value is None or len(value) > self._event_bytes_max:
                    continue  # a tombstone, or too large: the fast path says so
                try:
                    ident = f"{topic}-{run.partition}-{offset}"
                    batch.convert(record_index, convert(value, kind, ident, timestamp_ms, self._service))
                except NoEvent as error:
                    batch.convert(record_index, None, error.args[0])
