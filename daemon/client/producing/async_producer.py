"""The producer for asyncio. Events in; records to Kafka out, and the answer on the loop that asked."""

import asyncio
import time
import weakref
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self, Unpack

from ..events import Event, Level
from .delivery import (
    BatchFailed,
    BatchReports,
    Delivery,
    DeliveryFailed,
    FailedEvent,
    Origin,
    PublishError,
    QueueFull,
)
from .options import ProducerOptions
from .producer import Core
from .publishing import EventMaker, Labels, Made, Metadata, PublishMethods
from .shared_producer import QUEUE_FULL, Owner, Record

Sent = Coroutine[Any, Any, "asyncio.Future[Delivery]"]

# How long a task waits for room before it looks again; the delivery thread makes room meanwhile.
FULL_TICK_S: Final = 0.005
# Other tasks get their turn after so many events of a batch: about 1 ms.
BATCH_TURN_EVENTS: Final = 500


class Answers:
    """Brings answers to one loop: whatever is there by then in one call, as waking a loop costs more than an event."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._answers: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._called = False

    def add(self, future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
        """Runs on: the delivery thread."""
        self._answers.append((future, result, error))
        if not self._called:
            self._called = True
            try:
                self.loop.call_soon_threadsafe(self._give)
            except RuntimeError:
                pass  # the loop is closed: nobody waits there any more

    def _give(self) -> None:
        # First the sign, then the look: what is added in between calls again.
        self._called = False
        while self._answers:
            future, result, error = self._answers.popleft()
            if future.done():
                continue  # its task was cancelled
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


class _Report:
    """The delivery report of one event."""

    __slots__ = ("answers", "event_id", "future", "origin")

    def __init__(self, event_id: str, origin: Origin, answers: Answers) -> None:
        self.event_id = event_id
        self.origin = origin
        self.answers = answers
        self.future: asyncio.Future[Delivery] = answers.loop.create_future()

    def delivered(self, partition: int, offset: int, count: int) -> None:
        """Runs on: the delivery thread."""
        self.answers.add(self.future, Delivery(self.event_id, self.origin.topic, partition, offset), None)

    def failed(self, code: int, value: bytes) -> None:
        """Runs on: the delivery thread."""
        failure = DeliveryFailed.of(code, self.event_id)
        self.origin.on_failure(failure)
        self.answers.add(self.future, None, failure)


class _Link:
    """Sends for the running loop; never blocks it."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.shared = core.shared
        self._answers: Answers | None = None

    def answers(self) -> Answers:
        """Those of the running loop."""
        loop, answers = asyncio.get_running_loop(), self._answers
        if answers is None or answers.loop is not loop:
            answers = self._answers = Answers(loop)
        return answers

    async def send(self, made: Made) -> "asyncio.Future[Delivery]":
        event, sampled = made
        record = self.core.records.writer, event, sampled
        report = _Report(event.id, self.shared.origin, self.answers())
        if not self.shared.try_send(record, report):
            await self.send_when_there_is_room(record, report)
        return report.future

    async def send_when_there_is_room(self, record: Record, report: Owner) -> None:
        deadline_s = time.monotonic() + self.shared.queue_timeout_s
        while not self.shared.try_send(record, report):
            if time.monotonic() >= deadline_s:
                raise QueueFull(self.shared.full_text())
            await asyncio.sleep(FULL_TICK_S)

    async def send_many(self, events: Iterable[Event]) -> "asyncio.Future[int]":
        batch, answers, shared = self.core.batch(events), self.answers(), self.shared
        future: asyncio.Future[int] = answers.loop.create_future()
        unsent: list[FailedEvent] = []

        def settle(failed: list[FailedEvent], sent_count: int) -> None:
            every = failed + unsent
            count = sent_count + len(unsent)
            answers.add(future, count, BatchFailed(every, count) if every else None)

        reports = BatchReports(shared.origin, batch, settle)
        sent_count, deadline_s = 0, time.monotonic() + shared.queue_timeout_s
        try:
            while sent_count < len(batch):
                turn_end = min(len(batch), sent_count + BATCH_TURN_EVENTS)
                count, code = shared.try_send_batch(batch, sent_count, turn_end, reports)
                sent_count += count
                if count:
                    deadline_s = time.monotonic() + shared.queue_timeout_s
                if code not in (0, QUEUE_FULL):
                    raise shared.refusal(code)
                if code and time.monotonic() >= deadline_s:
                    raise QueueFull(shared.full_text())
                await asyncio.sleep(FULL_TICK_S if code else 0)
        except PublishError as error:
            if not sent_count:
                raise
            unsent += [FailedEvent(value, error) for value in batch.values_from(sent_count)]
        reports.seal(sent_count)
        return future


class _Sender(PublishMethods[Sent]):
    """`publish_*` whose result is the future: the `send_*` of AsyncProducer."""

    def __init__(self, link: _Link, maker: EventMaker) -> None:
        self._link = link
        self._maker = maker

    def _publish(self, made: Made) -> Sent:
        return self._link.send(made)

    def publish_event(self, event: Event) -> Sent:
        return self._link.send(self._link.core.own_event(event))


class AsyncProducer(PublishMethods[Coroutine[Any, Any, Delivery]]):
    """Publishes events to one topic, from asyncio. Arguments and errors are those of Producer.

        async with AsyncProducer("localhost:9092", "observability.events", "checkout") as producer:
            await producer.publish_log("info", "api", "order accepted")      # returns when Kafka has it
            future = await producer.send_log("info", "api", "mail queued")   # returns at once
            await future

    `publish_*` return a Delivery when the event is acknowledged, or raise DeliveryFailed. `send_*` take the same
    arguments and return an `asyncio.Future` as soon as the event is queued. Both wait for room in a full queue, up to
    `queue_timeout_s`, without blocking the loop. An event is checked at the call, before it is awaited. A future whose
    error nobody looks at is said by the loop's exception handler.
    """

    def __init__(
        self, brokers: str | Sequence[str], topic: str, service: str, **options: Unpack[ProducerOptions]
    ) -> None:
        self.core = Core(brokers, topic, service, options)
        self._maker = self.core.maker
        self._link = _Link(self.core)
        self._sender = _Sender(self._link, self._maker)
        self._finalizer = weakref.finalize(self, self.core.close_left_open)

    @property
    def service(self) -> str:
        """The `service` of its events."""
        return self._maker.service

    @property
    def topic(self) -> str:
        """The topic that it publishes to."""
        return self.core.shared.topic

    @property
    def waiting_count(self) -> int:
        """Events that are not acknowledged yet."""
        return self.core.shared.waiting_count()

    def _publish(self, made: Made) -> Coroutine[Any, Any, Delivery]:
        return self._delivered(made)

    async def _delivered(self, made: Made) -> Delivery:
        return await (await self._link.send(made))

    def publish_event(self, event: Event) -> Coroutine[Any, Any, Delivery]:
        return self._delivered(self.core.own_event(event))

    async def publish_many(self, events: Iterable[Event]) -> int:
        """As Producer.publish_many; returns the number of events when all are acknowledged, or raises BatchFailed."""
        return await (await self._link.send_many(events))

    async def send_many(self, events: Iterable[Event]) -> "asyncio.Future[int]":
        """As `publish_many`, but returns its future when all events are queued."""
        return await self._link.send_many(events)

    def send_event(self, event: Event) -> Sent:
        """`publish_event`, without waiting."""
        return self._sender.publish_event(event)

    def send_log(
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
    ) -> Sent:
        """`publish_log`, without waiting."""
        return self._sender.publish_log(
            level,
            component,
            message,
            labels,
            metadata,
            correlation_id=correlation_id,
            trace_id=trace_id,
            span_id=span_id,
            data=data,
            timestamp=timestamp,
        )

    def send_metric(
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
    ) -> Sent:
        """`publish_metric`, without waiting."""
        return self._sender.publish_metric(
            component,
            name,
            value,
            labels,
            metadata,
            correlation_id=correlation_id,
            trace_id=trace_id,
            span_id=span_id,
            data=data,
            timestamp=timestamp,
        )

    def send_alert(
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
    ) -> Sent:
        """`publish_alert`, without waiting."""
        return self._sender.publish_alert(
            alert_id,
            alert_name,
            message,
            level,
            labels,
            metadata,
            correlation_id=correlation_id,
            trace_id=trace_id,
            span_id=span_id,
            data=data,
            timestamp=timestamp,
        )

    def send_trace(
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
    ) -> Sent:
        """`publish_trace`, without waiting."""
        return self._sender.publish_trace(
            trace_id,
            span_id,
            operation,
            duration,
            labels,
            metadata,
            parent_span_id=parent_span_id,
            level=level,
            correlation_id=correlation_id,
            data=data,
            timestamp=timestamp,
        )

    def send_health(
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
    ) -> Sent:
        """`publish_health`, without waiting."""
        return self._sender.publish_health(
            component,
            status,
            details,
            labels,
            correlation_id=correlation_id,
            trace_id=trace_id,
            span_id=span_id,
            data=data,
            timestamp=timestamp,
        )

    def send_error(
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
    ) -> Sent:
        """`publish_error`, without waiting."""
        return self._sender.publish_error(
            component,
            error,
            error_type,
            labels,
            metadata,
            correlation_id=correlation_id,
            trace_id=trace_id,
            span_id=span_id,
            data=data,
            timestamp=timestamp,
        )

    async def flush(self, timeout_s: float = 30.0) -> int:
        """Send what lingers, and wait for all acknowledgements. How many events still wait when the time is over."""
        return await asyncio.to_thread(self.core.shared.flush, timeout_s)

    async def close(self, timeout_s: float | None = None) -> None:
        """As Producer.close."""
        self._finalizer.detach()
        await asyncio.to_thread(self.core.close, timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except PublishError:
            # An error of the block is not to be hidden by this one, which is in the log and in the futures too.
            if error is None:
                raise
