"""Makes Kafka records of events: checks every field, and writes the JSON value, the key and the headers. No I/O.

The wire form is that of the Go package that this library replaces: the JSON object of `Event`, and the record headers
`event_type`, `event_level`, `service`, `correlation_id` as UTF-8. Beside them stand the ids under the configured names,
and `traceparent` (W3C Trace Context). Headers of empty ids are left out. The record's key is the trace id, else the
correlation id, else none: so a trace is in one partition, in order.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from ..._fastpath import PlainCheck
from ..._librdkafka import EventBatch, RecordWriter
from ...events.vocabulary import LEVEL_ALIASES, TYPE_ALIASES
from ..context import (
    PLAIN_CORRELATION,
    TRACEPARENT,
    HeaderNames,
    TraceContext,
    traceparent,
    traceparent_start,
    w3c_span_id,
)
from ..events import UNWRITABLE, Event, EventType, InvalidEvent, Level, parse_timestamp_ns
from ..ids import new_event_id

TYPES: Final[dict[str, EventType]] = {kind.value: kind for kind in EventType} | {
    alias: EventType(name) for alias, name in TYPE_ALIASES.items()
}
LEVELS: Final[dict[str, Level]] = {level.value: level for level in Level} | {
    alias: Level(name) for alias, name in LEVEL_ALIASES.items()
}
# Types with level and service, seconds of timestamps, correlations and traces that are going on are few at a time; who
# makes them up endlessly must not grow memory.
CACHED_MAX: Final = 1024
_SECONDS_TEXT: Final = len("2026-11-24T09:01:01")

_encoder: Final = msgspec.json.Encoder()
encode: Final = _encoder.encode
Header = tuple[str, bytes | str]  # a text only where it has no zero byte, at which librdkafka's copy would end
Headers = list[Header]
_Ids = tuple[tuple[Header, ...], str | None]


def level_of(level: str) -> Level:
    """A level by its name or alias, in any case. Raises InvalidEvent."""
    found = LEVELS.get(level)
    if found is None:
        found = LEVELS.get(level.lower()) if isinstance(level, str) else None
        if found is None:
            raise InvalidEvent(f"level: {level!r} is not one of {', '.join(LEVELS)}")
    return found


def type_of(kind: str) -> EventType:
    """A type by its name or alias. Raises InvalidEvent."""
    found = TYPES.get(kind)
    if found is None:
        raise InvalidEvent(f"type: {kind!r} is not one of {', '.join(TYPES)}")
    return found


def check_text(name: str, value: object, needed: bool = True) -> None:
    """Raises InvalidEvent when `value` is no text, or is empty and `needed`."""
    if not isinstance(value, str):
        raise InvalidEvent(f"{name}: {value!r} is not a string")
    if needed and not value:
        raise InvalidEvent(f"{name}: is empty")


def check_labels(labels: Mapping[str, str] | None) -> dict[str, str] | None:
    """Labels as they stand on the wire: text to text, None when there are none. Raises InvalidEvent."""
    if not labels:
        return None
    if type(labels) is dict:
        for key, value in labels.items():
            if type(key) is not str or type(value) is not str:
                break
        else:
            return labels
    if not isinstance(labels, Mapping):
        raise InvalidEvent(f"labels: {labels!r} is not a mapping")
    for key, value in labels.items():
        check_text(f"the key of labels.{key}", key, needed=False)
        check_text(f"labels.{key}", value, needed=False)
    return dict(labels)


def check_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Metadata as it stands on the wire: text to anything, None when there is none. Raises InvalidEvent."""
    if not metadata:
        return None
    if type(metadata) is dict:
        return metadata
    if not isinstance(metadata, Mapping):
        raise InvalidEvent(f"metadata: {metadata!r} is not a mapping")
    return dict(metadata)


_PROBE: Final = Event(id="", type=EventType.LOG, level=Level.INFO, service="", component="", message="", timestamp="")


class RecordMaker:
    """Makes the records of one producer. Of its own it keeps only what it has seen to be valid."""

    def __init__(self, names: HeaderNames, event_bytes_max: int) -> None:
        self._names = names
        self._event_bytes_max = event_bytes_max
        self._kinds: dict[tuple[str, str, str], tuple[Header, ...]] = {}
        self._ids: dict[tuple[str | None, str | None], _Ids] = {}
        self._seconds: set[str] = set()
        self._plain = PlainCheck(_PROBE, self._seconds, self._kinds)
        self.writer = RecordWriter(self, self._plain, _encoder.encode_into, names.span_id, event_bytes_max)

    def make(self, event: Event, sampled: bool) -> tuple[bytes, str | None, Headers]:
        """What `writer` makes of an event that is `checked`, or comes from EventMaker: value, key, headers.

        The twin in plain Python of RecordWriter, which is compiled: a property test holds them equal.
        """
        value = self.value(event)
        correlation, trace, span = event.correlation_id, event.trace_id, event.span_id
        shared, _ = self.shared_headers(correlation, trace)
        headers: Headers = [*self.kind_headers(event.type, event.level, event.service), *shared]
        if span:
            headers.append((self._names.span_id, span.encode()))
            parent = traceparent(trace, span, sampled) if trace else None
            headers += [(TRACEPARENT, parent)] if parent else []
        return value, trace or correlation, headers

    def value(self, event: Event) -> bytes:
        """The event as JSON. Raises InvalidEvent."""
        try:
            value = encode(event)
        except UNWRITABLE as error:
            raise self.unwritable(event, error) from error
        if len(value) > self._event_bytes_max:
            raise self.too_large(len(value))
        return value

    def too_large(self, size: int) -> InvalidEvent:
        """Of an event whose JSON has `size` bytes."""
        return InvalidEvent(f"the event has {size} bytes, at most {self._event_bytes_max} are allowed")

    @staticmethod
    def unwritable(event: Event, error: Exception) -> Exception:
        """Which field JSON cannot hold, and why; anything else that encoding raised is that itself."""
        if not isinstance(error, UNWRITABLE):
            return error
        for name in event.__struct_fields__:
            try:
                encode(getattr(event, name))
            except UNWRITABLE as wrong:
                return InvalidEvent(f"{name}: can't be written as JSON: {wrong}")
        return InvalidEvent("the event can't be written as JSON")

    @staticmethod
    def w3c_span(span: str) -> str | None:
        """A span id as `traceparent` has it, or None when it has no such form."""
        return w3c_span_id(span)

    def kind_headers(self, kind: EventType, level: Level, service: str) -> tuple[Header, ...]:
        """The headers that all events of one type, level and service share."""
        found = self._kinds.get((kind, level, service))
        return self._new_kind(kind, level, service) if found is None else found

    def shared_headers(self, correlation: str | None, trace: str | None) -> "_Ids":
        """The headers that all events of one correlation and trace share, and the start of their `traceparent`."""
        found = self._ids.get((correlation, trace))
        return self._new_ids(correlation, trace) if found is None else found

    def _new_ids(self, correlation: str | None, trace: str | None) -> "_Ids":
        headers: Headers = []
        if correlation:
            text = correlation.encode()
            headers += [(PLAIN_CORRELATION, text), (self._names.correlation_id, text)]
        if trace:
            headers.append((self._names.trace_id, trace.encode()))
        ids = (tuple(headers), traceparent_start(trace) if trace else None)
        if len(self._ids) >= CACHED_MAX:
            self._ids.clear()
        self._ids[correlation, trace] = ids
        return ids

    def _new_kind(self, kind: EventType, level: Level, service: str) -> tuple[Header, ...]:
        if len(self._kinds) >= CACHED_MAX:
            self._kinds.clear()
        headers: tuple[Header, ...] = (
            ("event_type", str(kind).encode()),
            ("event_level", str(level).encode()),
            ("service", service.encode()),
        )
        self._kinds[kind, level, service] = headers
        return headers

    def checked(self, event: Event, service: str, context: TraceContext, now: Callable[[], str]) -> Event:
        """A program's own event, ready to be made a record: itself, or a copy with what it lacks.

        Filled are an empty id (UUIDv4), service and timestamp, and from the context correlation, trace and span id.
        Types and levels come out canonical, empty optional fields absent. Raises InvalidEvent.
        """
        if self._plain.holds(event, context.correlation_id, context.trace_id, context.span_id):
            return event
        return self._mended(event, service, context, now)

    def batch(self, events: Iterable[Event], service: str, context: TraceContext, now: Callable[[], str]) -> EventBatch:
        """Events of a program, each as by `checked`. Raises InvalidEvent with the place in it."""
        batch = EventBatch(self.writer, context.trace_id if context.sampled is False else None)

        def mend(event: Event) -> Event:
            return self._mended(event, service, context, now)

        ids = context.correlation_id, context.trace_id, context.span_id
        try:
            batch.fill(events, mend, *ids)
        except InvalidEvent as error:
            raise InvalidEvent(f"events[{len(batch)}]: {error}") from error
        return batch

    def _mended(self, event: Event, service: str, context: TraceContext, now: Callable[[], str]) -> Event:
        text, labels, metadata = event.timestamp, event.labels, event.metadata
        for name in _TEXTS:
            check_text(name, getattr(event, name), needed=False)
        changes: dict[str, Any] = {}
        for name, filler in (("correlation_id", context.correlation_id), ("trace_id", context.trace_id)):
            value = getattr(event, name)
            if value:
                check_text(name, value)
            elif value is not filler:
                changes[name] = filler
        self._check_span(event, context, changes)
        kind, level = type_of(event.type), level_of(event.level)
        if kind is not event.type or level is not event.level:
            changes["type"], changes["level"] = kind, level
        if not event.service:
            changes["service"] = service
        if not event.id:
            changes["id"] = new_event_id()
        if not text:
            changes["timestamp"] = now()
        else:
            self._check_timestamp(text)
        if labels is not None and check_labels(labels) is not labels:
            changes["labels"] = check_labels(labels)
        if metadata is not None and check_metadata(metadata) is not metadata:
            changes["metadata"] = check_metadata(metadata)
        return msgspec.structs.replace(event, **changes) if changes else event

    def _check_span(self, event: Event, context: TraceContext, changes: dict[str, Any]) -> None:
        span = event.span_id
        if span:
            check_text("span_id", span)
        else:
            # The context's span belongs to the context's trace, and to no other.
            filler = context.span_id if "trace_id" in changes or event.trace_id == context.trace_id else None
            if span is not filler:
                changes["span_id"] = filler

    def _check_timestamp(self, text: str) -> None:
        try:
            parse_timestamp_ns(text)
        except InvalidEvent as error:
            raise InvalidEvent(f"timestamp: {text!r} is not RFC 3339") from error
        if len(self._seconds) >= CACHED_MAX:
            self._seconds.clear()
        self._seconds.add(text[:_SECONDS_TEXT])


_TEXTS: Final = ("id", "service", "component", "message", "timestamp")
