"""The `publish_*` methods of both producers, and the events that they make. No I/O.

The fields of each kind are those of the Go package that this library replaces:

    log     as given
    metric  message `Metric: <name> = <value>`, data {"metric_name", "value"}
    alert   component `alerting`, data {"alert_id", "alert_name"}
    trace   component `tracing`, message `Trace: <operation>`, data {"operation", "duration_ms"}
    health  message `Health check: <component> is <status>`, data {"status"}, level info when healthy, else warning
    error   type log, level error, data {"error_type"}
"""

import math
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from ..._fastpath import utc_text
from ..context import TraceContext, current
from ..events import Event, EventType, InvalidEvent, Level, format_timestamp, parse_timestamp_ns
from ..ids import new_event_id
from .record import LEVELS, check_labels, check_metadata, check_text, level_of

Labels = Mapping[str, str] | None
Metadata = Mapping[str, Any] | None
Made = tuple[Event, bool]

STACK_CHARACTERS_MAX: Final = 16_384
# Above this a double holds no odd whole number, and Go writes an exponent at 1e21.
WHOLE_MAX: Final = 1 << 53


class EventMaker:
    """Makes valid events. Raises InvalidEvent, naming the field."""

    def __init__(self, service: str, now_ns: Callable[[], int]) -> None:
        check_text("service", service)
        self.service = service
        self._now_ns = now_ns

    def now(self) -> str:
        """RFC 3339 in UTC with nanoseconds, trailing zeros left out, as Go's RFC3339Nano."""
        return utc_text(self._now_ns())

    def make(
        self,
        kind: EventType,
        level: str,
        component: str,
        message: str,
        labels: Labels,
        metadata: Metadata,
        own_data: Any,
        correlation_id: str | None = None,
        trace_id: str | None = None,
        span_id: str | None = None,
        data: Any = None,
        timestamp: datetime | str | None = None,
    ) -> Made:
        """An event of any kind, with what the running code belongs to."""
        if type(component) is not str or not component:
            check_text("component", component)
        if type(message) is not str:
            check_text("message", message, needed=False)
        context = current()
        if correlation_id is None:
            correlation_id = context.correlation_id
        elif type(correlation_id) is not str:
            check_text("correlation_id", correlation_id)
        if trace_id is None:
            trace_id = context.trace_id
        elif type(trace_id) is not str:
            check_text("trace_id", trace_id)
        # The context's span belongs to the context's trace, and to no other.
        own_trace = trace_id == context.trace_id
        if span_id is None:
            span_id = context.span_id if own_trace else None
        elif type(span_id) is not str:
            check_text("span_id", span_id)
        event = Event(
            id=new_event_id(),
            type=kind,
            level=LEVELS.get(level) or level_of(level),
            service=self.service,
            component=component,
            message=message,
            timestamp=self.now() if timestamp is None else _timestamp(timestamp),
            correlation_id=correlation_id or None,
            trace_id=trace_id or None,
            span_id=span_id or None,
            labels=None if labels is None else check_labels(labels),
            metadata=None if metadata is None else check_metadata(metadata),
            data=data if own_data is None else own_data if data is None else _with_data(own_data, data),
        )
        return event, not own_trace or context.sampled is not False

    def context_for(self, event: Event) -> tuple[TraceContext, bool]:
        """The running code's context, and whether an event of a program's own is of a sampled trace."""
        context = current()
        foreign = bool(event.trace_id) and event.trace_id != context.trace_id
        return context, foreign or context.sampled is not False


def _with_data(own: Any, more: Any) -> Any:
    if not isinstance(more, Mapping):
        raise InvalidEvent(f"data: {more!r} is not a mapping, and this kind of event has {', '.join(own)} there")
    return {**more, **own}


def _timestamp(given: datetime | str) -> str:
    if isinstance(given, str):
        try:
            parse_timestamp_ns(given)
        except InvalidEvent as error:
            raise InvalidEvent(f"timestamp: {given!r} is not RFC 3339") from error
        return given
    if not isinstance(given, datetime) or given.tzinfo is None:
        raise InvalidEvent(f"timestamp: {given!r} is neither RFC 3339 text nor a datetime with a time zone")
    whole = (given.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
    return format_timestamp(whole * 1000)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def plain_number(name: str, value: float) -> float:
    """As Go writes it in JSON: whole ones without a fraction. Raises InvalidEvent for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidEvent(f"{name}: {value!r} is not a number")
    if isinstance(value, int):
        return value
    if not math.isfinite(value):
        raise InvalidEvent(f"{name}: {value!r} is not finite")
    return int(value) if value.is_integer() and abs(value) <= WHOLE_MAX else value


def duration_ms(duration: float | timedelta) -> float:
    """Milliseconds of seconds or a timedelta, to the nanosecond. Raises InvalidEvent."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    milliseconds = plain_number("duration", seconds) * 1000
    if milliseconds < 0:
        raise InvalidEvent(f"duration: {duration!r} is negative")
    return plain_number("duration", round(milliseconds, 6))


def check_operation(operation: str) -> None:
    """Raises InvalidEvent."""
    check_text("operation", operation)


def with_parent(metadata: Metadata, parent_span_id: str | None) -> Metadata:
    """Metadata with `parent_span_id`, where child spans name their parent."""
    if not parent_span_id:
        return metadata
    check_text("parent_span_id", parent_span_id)
    return {**(metadata or {}), "parent_span_id": parent_span_id}


def describe_error(error: BaseException | str, error_type: str | None) -> tuple[str, str, str | None]:
    """(message, error type, stack trace or None)."""
    if not isinstance(error, BaseException):
        return error, error_type or "error", None
    stack = None
    if error.__traceback__ is not None:
        stack = "".join(traceback.format_exception(error))[-STACK_CHARACTERS_MAX:]
    return str(error) or type(error).__name__, error_type or type(error).__qualname__, stack


Published = TypeVar("Published", covariant=True)


class PublishMethods(Generic[Published]):
    """The `publish_*` methods. `Producer` gives them a future as result, `AsyncProducer` something to await.

    Keywords of all: correlation_id, trace_id, span_id: texts; None means that of the running code
    (`ingestd.client.bind`), an empty text means none. data: anything that JSON holds; with a kind that has data of its
    own, a mapping that is added to it. timestamp: when it happened, an aware datetime or RFC 3339; now when None.

    All raise InvalidEvent before anything is sent, with the name of the field; QueueFull when the queue stayed full for
    `queue_timeout_s`; ProducerClosed.
    """

    _maker: EventMaker

    def _publish(self, made: Made) -> Published:
        raise NotImplementedError

    def publish_event(self, event: Event) -> Published:
        """Publish an event of one's own. Empty id, service, timestamp, correlation, trace and span id are filled in.

        The given event is not changed; its timestamp text goes out as it is.
        """
        raise NotImplementedError

    def publish_log(
        self,
        level: Level | str,
        component: str,
        message: str,
        labels: Labels = None,
        metadata: Metadata = None,
        *,
        correlation_id: str | None = None,
        trace_id: str | None = None,
        span_id: str | None = None,
        data: Any = None,
        timestamp: datetime | str | None = None,
    ) -> Published:
        """Publish a log event. level: a Level, or its name or alias in any case. labels: text to text."""
        return self._publish(
            self._maker.make(
                EventType.LOG,
                level,
                component,
                message,
                labels,
                metadata,
                None,
                correlation_id,
                trace_id,
                span_id,
                data,
                timestamp,
            )
        )

    def publish_metric(
        self,
        component: str,
        name: str,
        value: float,
        labels: Labels = None,
        metadata: Metadata = None,
        *,
        correlation_id: str | None = None,
        trace_id: str | None = None,
        span_id: str | None = None,
        data: Any = None,
        timestamp: datetime | str | None = None,
    ) -> Published:
        """Publish a metric event, level info. value: a finite number, in the unit that the name says."""
        check_text("name", name)
        number = plain_number("value", value)
        own = {"metric_name": name, "value": number}
        message = f"Metric: {name} = {number}"
        return self._publish(
            self._maker.make(
                EventType.METRIC,
                Level.INFO,
                component,
                message,
                labels,
                metadata,
                own,
                correlation_id,
                trace_id,
                span_id,
                data,
                timestamp,
            )
        )

    def publish_alert(
        self,
        alert_id: str,
        alert_name: str,
        message: str,
        level: Level | str = Level.WARNING,
        labels: Labels = None,
        metadata: Metadata = None,
        *,
        correlation_id: str | None = None,
        trace_id: str | None = None,
        span_id: str | None = None,
        data: Any = None,
        timestamp: datetime | str | None = None,
    ) -> Published:
        """Publish an alert event. alert_id: of this alert, not of its rule. Component `alerting`."""
        check_text("alert_id", alert_id)
        check_text("alert_name", alert_name)
        own = {"alert_id": alert_id, "alert_name": alert_name}
        return self._publish(
            self._maker.make(
                EventType.ALERT,
                level,
                "alerting",
                message,
                labels,
                metadata,
                own,
                correlation_id,
                trace_id,
                span_id,
                data,
                timestamp,
            )
        )

    def publish_trace(
        self,
        trace_id: str,
        span_id: str,
        operation: str,
        duration: float | timedelta,
        labels: Labels = None,
        metadata: Metadata = None,
        *,
        parent_span_id: str | None = None,
        level: Level | str = Level.INFO,
        correlation_id: str | None = None,
        data: Any = None,
        timestamp: datetime | str | None = None,
    ) -> Published:
        """Publish the trace event of a span that has just ended.

        duration: seconds, or a timedelta; not negative. parent_span_id: goes to `metadata.parent_span_id`.
        """
        check_text("trace_id", trace_id)
        check_text("span_id", span_id)
        check_operation(operation)
        own = {"operation": operation, "duration_ms": duration_ms(duration)}
        metadata = with_parent(metadata, parent_span_id)
        message = f"Trace: {operation}"
        return self._publish(
            self._maker.make(
                EventType.TRACE,
                level,
                "tracing",
                message,
                labels,
                metadata,
                own,
                correlation_id,
                trace_id,
                span_id,
                data,
                timestamp,
            )
        )

    def publish_health(
        self,
        component: str,
        status: str,
        details: Metadata = None,
        labels: Labels = None,
        *,
        correlation_id: str | None = None,
        trace_id: str | None = None,
        span_id: str | None = None,
        data: Any = None,
        timestamp: datetime | str | None = None,
    ) -> Published:
        """Publish a health event. status: `healthy`, or what it is instead. details: stand in `metadata`."""
        check_text("status", status)
        level = Level.INFO if status == "healthy" else Level.WARNING
        message = f"Health check: {component} is {status}"
        own = {"status": status}
        return self._publish(
            self._maker.make(
                EventType.HEALTH,
                level,
                component,
                message,
                labels,
                details,
                own,
                correlation_id,
                trace_id,
                span_id,
                data,
                timestamp,
            )
        )

    def publish_error(
        self,
        component: str,
        error: BaseException | str,
        error_type: str | None = None,
        labels: Labels = None,
        metadata: Metadata = None,
        *,
        correlation_id: str | None = None,
        trace_id: str | None = None,
        span_id: str | None = None,
        data: Any = None,
        timestamp: datetime | str | None = None,
    ) -> Published:
        """Publish an error: a log event of level error.

        error: an exception, or a text. error_type: the exception's class when absent. The last 16,384 characters of the
        exception's traceback stand in `metadata.stack_trace`.
        """
        message, error_type, stack = describe_error(error, error_type)
        if stack is not None:
            metadata = {"stack_trace": stack, **(metadata or {})}
        own = {"error_type": error_type}
        return self._publish(
            self._maker.make(
                EventType.LOG,
                Level.ERROR,
                component,
                message,
                labels,
                metadata,
                own,
                correlation_id,
                trace_id,
                span_id,
                data,
                timestamp,
            )
        )
