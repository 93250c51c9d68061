"""Events to records. An Event in; value, key and headers out, or an InvalidEvent that names the field. Pure.

The wire form is that of the Go package that this library replaces: the JSON object of `Event`, and the record headers
`event_type`, `event_level`, `service`, `correlation_id` as UTF-8. Beside them stand the ids under the configured names,
and `traceparent` (W3C Trace Context). Headers of empty ids are left out. The record's key is the trace id, else the
correlation id, else none: so a trace is in one partition, in order.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from ingestd.client.context import PLAIN_CORRELATION, TRACEPARENT, HeaderNames, TraceContext, traceparent
from ingestd.client.events import Event, EventType, InvalidEvent, Level, parse_timestamp_ns
from ingestd.client.handle import Headers, Record
from ingestd.client.ids import new_event_id
from ingestd.model import LEVEL_ALIASES, TYPE_ALIASES

TYPES: Final[dict[str, EventType]] = {kind.value: kind for kind in EventType} | {
    alias: EventType(name) for alias, name in TYPE_ALIASES.items()
}
LEVELS: Final[dict[str, Level]] = {level.value: level for level in Level} | {
    alias: Level(name) for alias, name in LEVEL_ALIASES.items()
}
# (type, level, service) and days of timestamps are few; who makes them up endlessly must not grow memory.
CACHED_MAX: Final = 1024
_SECONDS_TEXT: Final = len("2026-11-24T09:01:01")

encode: Final = msgspec.json.Encoder().encode


def level_of(level: str) -> Level:
    """A level by its name or alias, in any case. Raises InvalidEvent."""
    found = LEVELS.get(level)
    if found is None:
        found = LEVELS.get(level.lower()) if isinstance(level, str) else None
        if found is None:
            raise InvalidEvent(f"level: {level!r} is none of {', '.join(LEVELS)}")
    return found


def type_of(kind: str) -> EventType:
    """A type by its name or alias. Raises InvalidEvent."""
    found = TYPES.get(kind)
    if found is None:
        raise InvalidEvent(f"type: {kind!r} is none of {', '.join(TYPES)}")
    return found


def check_text(name: str, value: object, needed: bool = True) -> None:
    """Raises InvalidEvent when `value` is no text, or is empty and `needed`."""
    if not isinstance(value, str):
        raise InvalidEvent(f"{name}: {value!r} is no text")
    if needed and not value:
        raise InvalidEvent(f"{name}: is empty")


def check_labels(labels: Mapping[str, str] | None) -> dict[str, str] | None:
    """Labels as they stand on the wire: text to text, None when there are none. Raises InvalidEvent."""
    if not labels:
        return None
    if not isinstance(labels, Mapping):
        raise InvalidEvent(f"labels: {labels!r} is no mapping")
    for key, value in labels.items():
        if type(key) is not str or type(value) is not str:
            check_text(f"the key of labels.{key}", key, needed=False)
            check_text(f"labels.{key}", value, needed=False)
    return labels if type(labels) is dict else dict(labels)


def check_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Metadata as it stands on the wire: text to anything, None when there is none. Raises InvalidEvent."""
    if not metadata:
        return None
    if not isinstance(metadata, Mapping):
        raise InvalidEvent(f"metadata: {metadata!r} is no mapping")
    return metadata if type(metadata) is dict else dict(metadata)


class RecordMaker:
    """Makes the records of one producer. Of its own it keeps only what it has seen to be valid."""

    def __init__(self, names: HeaderNames, event_bytes_max: int) -> None:
        self._names = names
        self._event_bytes_max = event_bytes_max
        self._heads: dict[tuple[str, str, str], tuple[tuple[str, bytes], ...]] = {}
        self._seconds: set[str] = set()

    def make(self, event: Event, sampled: bool) -> Record:
        """The record of an event that is `checked`, or comes from EventMaker. Raises InvalidEvent."""
        try:
            value = encode(event)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise unwritable(event) from error
        if len(value) > self._event_bytes_max:
            raise InvalidEvent(f"the event has {len(value)} bytes; at most {self._event_bytes_max} are allowed")
        head = self._heads.get((event.type, event.level, event.service))
        if head is None:
            head = self._new_head(event)
        correlation, trace, span = event.correlation_id, event.trace_id, event.span_id
        headers: Headers = [*head]
        names = self._names
        if correlation:
            text = correlation.encode()
            headers.append((PLAIN_CORRELATION, text))
            headers.append((names.correlation_id, text))
        if trace:
            headers.append((names.trace_id, trace.encode()))
            if span:
                headers.append((names.span_id, span.encode()))
                parent = traceparent(trace, span, sampled)
                if parent is not None:
                    headers.append((TRACEPARENT, parent.encode()))
        elif span:
            headers.append((names.span_id, span.encode()))
        return value, trace or correlation, headers

    def _new_head(self, event: Event) -> tuple[tuple[str, bytes], ...]:
        if len(self._heads) >= CACHED_MAX:
            self._heads.clear()
        head = (
            ("event_type", str(event.type).encode()),
            ("event_level", str(event.level).encode()),
            ("service", event.service.encode()),
        )
        self._heads[event.type, event.level, event.service] = head
        return head

    def checked(self, event: Event, service: str, context: TraceContext, now: Callable[[], str]) -> Event:
        """A program's own event, ready to be made a record: itself, or a copy with what it lacks.

        Filled are an empty id (UUIDv4), service and timestamp, and from the context correlation, trace and span id.
        Types and levels come out canonical, empty optional fields absent. Raises InvalidEvent.
        """
        text, labels, metadata = event.timestamp, event.labels, event.metadata
        for name in _TEXTS:
            value = getattr(event, name)
            if type(value) is not str:
                check_text(name, value, needed=False)
        changes: dict[str, Any] = {}
        for name, filler in (("correlation_id", context.correlation_id), ("trace_id", context.trace_id)):
            value = getattr(event, name)
            if not value:
                if value is not None or filler:
                    changes[name] = filler
            elif type(value) is not str:
                check_text(name, value)
        self._check_span(event, context, changes)
        if (event.type, event.level, event.service) not in self._heads:
            changes["type"], changes["level"] = type_of(event.type), level_of(event.level)
            if not event.service:
                changes["service"] = service
        if not event.id:
            changes["id"] = new_event_id()
        if not text:
            changes["timestamp"] = now()
        elif text[:_SECONDS_TEXT] not in self._seconds or not _plain_rest(text):
            self._check_timestamp(text)
        if labels is not None and check_labels(labels) is not labels:
            changes["labels"] = check_labels(labels)
        if metadata is not None and check_metadata(metadata) is not metadata:
            changes["metadata"] = check_metadata(metadata)
        return msgspec.structs.replace(event, **changes) if changes else event

    def _check_span(self, event: Event, context: TraceContext, changes: dict[str, Any]) -> None:
        span = event.span_id
        if span:
            if type(span) is not str:
                check_text("span_id", span)
        else:
            # The context's span belongs to the context's trace, and to no other.
            filler = context.span_id if "trace_id" in changes or event.trace_id == context.trace_id else None
            if span is not None or filler:
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


def _plain_rest(text: str) -> bool:
    """What follows the seconds is `Z`, or a fraction and `Z`: half of what the regex costs."""
    rest = text[_SECONDS_TEXT:]
    return rest == "Z" or (rest[0] == "." and rest[-1] == "Z" and rest[1:-1].isdigit() and rest.isascii())


def unwritable(event: Event) -> InvalidEvent:
    """Which field JSON cannot hold, and why."""
    for name in event.__struct_fields__:
        try:
            encode(getattr(event, name))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            return InvalidEvent(f"{name}: can't be written as JSON: {error}")
    return InvalidEvent("the event can't be written as JSON")
