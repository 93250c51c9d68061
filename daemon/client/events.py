"""The event as programs see it, and its JSON: `Event`, its type, level and time. No I/O.

The wire form is that of the Go package that this library replaces: one JSON object with the fields of `Event` in their
order; the optional ones are left out when they are empty. Unknown fields are accepted and ignored.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any, Final

import msgspec

from .._fastpath import UNREADABLE
from ..errors import IngestdError
from ..events.unreadable import why_unreadable
from ..events.vocabulary import LEVEL_ALIASES, LEVEL_NAMES, TYPE_ALIASES


class InvalidEvent(IngestdError, ValueError):
    """An event that may not be published, or bytes that are no event. The text names the field."""


class EventType(StrEnum):
    """What kind of event it is. `error` is an alias of log on the wire."""

    LOG = "log"
    METRIC = "metric"
    ALERT = "alert"
    TRACE = "trace"
    HEALTH = "health"


class Level(StrEnum):
    """How severe it is, least first. `warn` and `critical` are aliases, in any case."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    FATAL = "fatal"

    @property
    def rank(self) -> int:
        """0 for debug up to 4 for fatal."""
        return LEVEL_NAMES.index(self.value)


# RFC 3339, section 5.6; fractions of any length are read, nanoseconds are kept.
_RFC_3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Event(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One event. `timestamp` is the text as it came, or is to go; `timestamp_ns` and `time` read it.

    labels: string to string. metadata: string to any JSON value. data: any JSON value.
    """

    id: str
    type: EventType
    level: Level
    service: str
    component: str
    message: str
    timestamp: str
    correlation_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    labels: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    data: Any = None

    @property
    def timestamp_ns(self) -> int:
        """Nanoseconds since the epoch. Raises InvalidEvent when the text is not RFC 3339."""
        return parse_timestamp_ns(self.timestamp)

    @property
    def time(self) -> datetime:
        """The time with its own offset, to the microsecond. Raises InvalidEvent."""
        match = _RFC_3339.fullmatch(self.timestamp)
        zone = UTC
        if match is not None and match[8]:
            minutes = int(match[9]) * 60 + int(match[10])
            zone = timezone(timedelta(minutes=-minutes if match[8] == "-" else minutes))
        return (_EPOCH + timedelta(microseconds=self.timestamp_ns // 1000)).astimezone(zone)

    @property
    def any_correlation_id(self) -> str | None:
        """The correlation id, also where older producers write it: in metadata, then in labels."""
        if self.correlation_id:
            return self.correlation_id
        for carrier in (self.metadata, self.labels):
            found = (carrier or {}).get("correlation_id")
            if isinstance(found, str) and found:
                return found
        return None

    def to_json(self) -> bytes:
        """The event as it stands on the wire. Raises InvalidEvent for what JSON cannot hold."""
        try:
            return _ENCODE(self)
        except UNWRITABLE as error:
            raise InvalidEvent(f"the event can't be written as JSON: {error}") from error

    @classmethod
    def from_json(cls, value: bytes | bytearray | memoryview | str) -> "Event":
        """An event from its bytes. Absent and null fields are empty. Raises InvalidEvent."""
        try:
            wire = _DECODE(value)
        except UNREADABLE as error:
            # A lone surrogate in a text becomes what it is in bytes: no UTF-8.
            payload = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)
            raise InvalidEvent(f"no event: {why_unreadable(payload, error)[1]}") from error
        kind = TYPE_ALIASES.get(wire.type or "", wire.type or "")
        level = (wire.level or "").lower()
        try:
            return cls(
                id=wire.id or "",
                type=EventType(kind),
                level=Level(LEVEL_ALIASES.get(level, level)),
                service=wire.service or "",
                component=wire.component or "",
                message=wire.message or "",
                timestamp=wire.timestamp or ZERO_TIMESTAMP,
                correlation_id=wire.correlation_id or None,
                trace_id=wire.trace_id or None,
                span_id=wire.span_id or None,
                labels=wire.labels,
                metadata=wire.metadata,
                data=wire.data,
            )
        except ValueError as error:
            raise InvalidEvent(f"not an event: {error}") from error


class _Wire(msgspec.Struct):
    """What may come in: every field may be absent or null."""

    id: str | None = None
    type: str | None = None
    level: str | None = None
    service: str | None = None
    component: str | None = None
    message: str | None = None
    timestamp: str | None = None
    correlation_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    labels: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    data: Any = None


# What encoding raises for a value that JSON can't hold.
UNWRITABLE: Final = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)
# Go's "no time".
ZERO_TIMESTAMP: Final = "0001-01-01T00:00:00Z"
_DECODE = msgspec.json.Decoder(_Wire).decode
_ENCODE = msgspec.json.Encoder().encode


def parse_timestamp_ns(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 text. Raises InvalidEvent."""
    match = _RFC_3339.fullmatch(text)
    try:
        if match is None:
            raise ValueError("another form")
        year, month, day, hour, minute, second = map(int, match.groups()[:6])
        # A leap second is the second after it, as the daemon has it.
        whole = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC) - _EPOCH
        seconds = whole.days * 86400 + whole.seconds + max(0, second - 59)
    except ValueError as error:
        raise InvalidEvent(f"timestamp {text!r} is not RFC 3339") from error
    if match[8]:
        offset_s = int(match[9]) * 3600 + int(match[10]) * 60
        seconds += offset_s if match[8] == "-" else -offset_s
    return seconds * 1_000_000_000 + int(f"{match[7] or '0':0<9}"[:9])


def format_timestamp(time_ns: int) -> str:
    """RFC 3339 in UTC with nanoseconds, trailing zeros left out, as Go's RFC3339Nano."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    whole = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{whole}{fraction}Z"
