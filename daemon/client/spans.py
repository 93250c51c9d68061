"""Trace spans: publishes the beginning and the end of an operation, and keeps the running code in its span.

Two trace events a span, both with its ids: at the beginning one without `data.duration_ms`, so that a span whose
program died is seen; at the end one with it. A child names its parent in `metadata.parent_span_id`. Sampling is decided
where a trace begins, from its id alone and as the daemon decides (docs/sampling.md); spans of a trace that is not
sampled have ids all the same, and the flag goes on to other programs in `traceparent`.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

from ..errors import IngestdError
from ..events.rules import sample_randomness, sample_threshold
from .context import TraceContext, attach, bound, current, restore
from .events import EventType, Level
from .ids import new_span_id, new_trace_id
from .producing.delivery import DeliveryFuture, PublishError, QueueFull
from .producing.producer import Core
from .producing.publishing import Labels, Metadata, check_operation, describe_error, duration_ms, with_parent

NS_PER_S: Final = 1_000_000_000
# Spans that are begun with `start_trace` and never ended must not grow memory: the oldest go.
OPEN_SPANS_MAX: Final = 100_000


class UnknownSpan(IngestdError, KeyError):
    """`end_trace` of a span that was not begun here, or was ended before."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(eq=False, slots=True)
class Span:
    """A span that is going on. What is put into `labels` and `metadata` stands in its last event."""

    trace_id: str
    span_id: str
    operation: str
    parent_span_id: str | None
    sampled: bool
    labels: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    started_ns: int = 0
    outer: TraceContext = field(default_factory=TraceContext)
    correlation_id: str | None = None


class Tracer:
    """Begins and ends spans. Never blocks: a span event for which there is no room is counted and said in the log."""

    def __init__(self, core: Core, rate: float, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"trace_sampling_rate: {rate} is not between 0 and 1")
        self._core = core
        self._threshold = sample_threshold(rate)
        self._monotonic_ns = monotonic_ns
        # Without a lock, which a fork could leave held in the child: each use is one call in C, and so one step.
        self._open: OrderedDict[tuple[str, str], Span] = OrderedDict()
        self.lost_count = 0

    def samples(self, trace_id: str) -> bool:
        """Whether a trace that begins here with this id is kept: as the daemon's rule `sample` decides."""
        return sample_randomness(trace_id) >= self._threshold

    def begin(self, operation: str, labels: Labels, metadata: Metadata) -> Span:
        """A span below the current one, or the first of a trace; the running code is in it from now on."""
        check_operation(operation)
        outer = current()
        trace_id = outer.trace_id or new_trace_id()
        sampled = self.samples(trace_id) if outer.sampled is None else outer.sampled
        span = Span(
            trace_id,
            new_span_id(),
            operation,
            outer.span_id if outer.trace_id else None,
            sampled,
            dict(labels or {}),
            dict(metadata or {}),
            self._monotonic_ns(),
            bound(),
            outer.correlation_id,
        )
        # Before the context changes, as it raises InvalidEvent for labels that are none.
        self._publish(span, Level.INFO, {"operation": operation}, span.metadata)
        attach(TraceContext(outer.correlation_id, trace_id, span.span_id, sampled, outer.outer_otel_span))
        return span

    def end(self, span: Span, error: BaseException | str | None = None) -> None:
        """The span is over; the code around it goes on in what was current before, if it is still in the span."""
        data = {"operation": span.operation, "duration_ms": self._duration_ms(span)}
        now_current = current()
        if now_current.span_id == span.span_id and now_current.trace_id == span.trace_id:
            restore(span.outer)
        metadata, level = span.metadata, Level.INFO
        if error is not None:
            message, error_type, _ = describe_error(error, None)
            metadata = {**metadata, "error": message, "error_type": error_type}
            # What ends a task or a program from outside is no fault of the operation.
            faulty = isinstance(error, str | Exception)
            level = Level.ERROR if faulty else Level.WARNING
        self._publish(span, level, data, metadata)

    def _duration_ms(self, span: Span) -> float:
        return duration_ms((self._monotonic_ns() - span.started_ns) / NS_PER_S)

    def remember(self, span: Span) -> None:
        """For `start_trace`, whose caller keeps the two ids only."""
        self._open[span.trace_id, span.span_id] = span
        if len(self._open) > OPEN_SPANS_MAX:
            self._open.popitem(last=False)
            self._say("too many spans were never ended, the oldest is dropped", None)

    def recall(self, trace_id: str, span_id: str) -> Span:
        """The span of `start_trace`, once. Raises UnknownSpan."""
        span = self._open.pop((trace_id, span_id), None)
        if span is None:
            raise UnknownSpan(f"span {span_id} of trace {trace_id} was not begun here, or was ended before")
        return span

    def _publish(self, span: Span, level: Level, data: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        core = self._core
        made, _ = core.maker.make(
            EventType.TRACE,
            level,
            "tracing",
            f"Trace: {span.operation}",
            span.labels,
            with_parent(metadata, span.parent_span_id),
            data,
            correlation_id=span.correlation_id or "",
            trace_id=span.trace_id,
            span_id=span.span_id,
        )
        if not span.sampled:
            core.records.value(made)  # raises what is wrong with it all the same
            return
        try:
            if core.shared.try_send((core.records.writer, made, True), DeliveryFuture(made.id, core.shared.origin)):
                return
            self._say("a trace event was dropped", QueueFull("the producer's queue is full"))
        except PublishError as error:
            self._say("a trace event was dropped", error)

    def _say(self, message: str, error: PublishError | None) -> None:
        self.lost_count += 1
        self._core.shared.say(logging.WARNING, message, error=str(error) if error else "")


class TraceBlock:
    """`with service.trace(...) as span`, and `async with`."""

    def __init__(self, tracer: Tracer, operation: str, labels: Labels, metadata: Metadata) -> None:
        self._tracer = tracer
        self._arguments = (operation, labels, metadata)
        self._spans: list[Span] = []

    def __enter__(self) -> Span:
        span = self._tracer.begin(*self._arguments)
        self._spans.append(span)
        return span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tracer.end(self._spans.pop(), error)

    async def __aenter__(self) -> Span:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)
