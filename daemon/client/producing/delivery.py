"""What becomes of an event that was sent: its future, Delivery, and the errors of publishing.

PublishError
  QueueFull          the producer's queue was full for `queue_timeout_s`: not sent
  ProducerClosed     the producer was closed before: not sent
  DeliveryFailed     Kafka did not take it, or nobody knows whether it did
    BatchFailed      some events of a batch; names them
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, TypeVar

from ..._librdkafka import ErrorCode, EventBatch, error_name, error_text
from ...errors import IngestdError


class PublishError(IngestdError):
    """An event did not get to Kafka."""


class QueueFull(PublishError):
    """The queue stayed full for `queue_timeout_s`. The event was not sent: publish it again, or do without it."""


class ProducerClosed(PublishError):
    """Publishing after `close`. The event was not sent."""


class DeliveryFailed(PublishError):
    """Kafka did not acknowledge the event.

    code, name: librdkafka's, as -192 and `_MSG_TIMED_OUT`; 0 and "" where it was not asked. maybe_delivered: it may
    stand in the topic all the same, so sending it again may double it (with the same event id).
    """

    def __init__(self, text: str, code: int = 0, name: str = "", maybe_delivered: bool = False) -> None:
        self.code = code
        self.name = name
        self.maybe_delivered = maybe_delivered
        super().__init__(text)

    @classmethod
    def of(cls, code: int, event_id: str) -> "DeliveryFailed":
        """From the error of librdkafka's report."""
        which = f"event {event_id}" if event_id else "the event"
        maybe = code in (ErrorCode.MSG_TIMED_OUT, ErrorCode.PURGE_INFLIGHT, ErrorCode.TIMED_OUT)
        name = error_name(code)
        return cls(f"{which} was not delivered: {name}: {error_text(code)}", code, name, maybe)


def inherited(what: str) -> DeliveryFailed:
    """For a child's copy of a future that its parent made."""
    text = f"{what} was published before a fork: only the parent hears what became of it"
    return DeliveryFailed(text, maybe_delivered=True)


class FailedEvent(NamedTuple):
    """One event of a batch that was not delivered: its JSON bytes, and why."""

    value: bytes
    error: PublishError


class BatchFailed(DeliveryFailed):
    """Some events of a `publish_many` were not delivered; the others were."""

    def __init__(self, failed: list[FailedEvent], event_count: int) -> None:
        self.failed = failed
        self.event_count = event_count
        first = failed[0].error
        maybe = any(isinstance(one.error, DeliveryFailed) and one.error.maybe_delivered for one in failed)
        code, name = (first.code, first.name) if isinstance(first, DeliveryFailed) else (0, "")
        text = f"{len(failed)} of {event_count} events were not delivered; the first: {first}"
        super().__init__(text, code, name, maybe)


class Delivery(NamedTuple):
    """Where an acknowledged event stands."""

    event_id: str
    topic: str
    partition: int
    offset: int


class Origin:
    """The process that sent an event. After a fork the child's copy says that its reports come to the parent only."""

    __slots__ = ("inherited", "on_failure", "topic")

    def __init__(self, topic: str, on_failure: Callable[[PublishError], None]) -> None:
        self.topic = topic
        self.on_failure = on_failure
        self.inherited = False


class _Waiting:
    """What a Future needs once somebody waits for it."""

    __slots__ = ("callbacks", "condition", "waiters")

    def __init__(self) -> None:
        # Guards `waiters` and `callbacks`. Taken by threads that wait for the future, and by the delivery thread.
        self.condition = threading.Condition()
        self.waiters: list[Any] = []
        self.callbacks: list[Any] = []


_FINISHED: Final = "FINISHED"
# Guards the making of `ReportFuture._waiting`, of any future: one is made. Taken by threads that wait for a future, and
# by the delivery thread when a condition is being made just then.
_making_condition = threading.Lock()
T = TypeVar("T")


def _forget() -> None:
    """After a fork: a thread that held the lock is not there to give it back."""
    global _making_condition
    _making_condition = threading.Lock()


os.register_at_fork(after_in_child=_forget)


class ReportFuture(Future[T]):
    """A Future that librdkafka's report finishes, at a third of the price.

    `Future()` with `set_result` costs 2.4 µs, and `result()` as much again, nearly all of it for a Condition that
    nobody waits on when the answer comes first. Here condition, waiters and callbacks are made when somebody asks for
    them, and a result that is there is given at once. The names are those of `concurrent.futures._base`.
    """

    # Non-obvious: a future is finished by state first and condition second, and waited for the other way round. Who
    # waits makes the condition and then looks at the state; who finishes sets the state and then looks for the
    # condition: one of them sees the other. Swapped, a wake-up is lost.

    # What Future.__init__ would set. RUNNING: an event that was sent can't be taken back.
    _state: str = "RUNNING"
    _result: Any = None
    _exception: BaseException | None = None
    _waiting: _Waiting | None = None  # made when somebody asks

    def __init__(self) -> None:
        """Nothing to do yet: that is the point."""

    def _wait(self) -> _Waiting:
        with _making_condition:
            if self._waiting is None:
                self._waiting = _Waiting()
        return self._waiting

    # Not by __getattr__: with one, every look at any attribute takes the long way.
    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        return (self._waiting or self._wait()).condition

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        return (self._waiting or self._wait()).waiters

    @property
    def _done_callbacks(self) -> list[Any]:
        return (self._waiting or self._wait()).callbacks

    def finish(self, result: Any, exception: BaseException | None = None) -> None:
        """Runs on: the delivery thread. Called once."""
        self._result = result
        if exception is not None:
            self._exception = exception
        self._state = _FINISHED
        if self._waiting is not None:
            self._notify()

    def _notify(self) -> None:
        """Wake those who wait."""
        with self._condition:
            for waiter in self._waiters:
                if self._exception is None:
                    waiter.add_result(self)
                else:
                    waiter.add_exception(self)
            self._condition.notify_all()
        self._invoke_callbacks()  # type: ignore[attr-defined]

    def cancel(self) -> bool:
        """False: what was sent can't be taken back."""
        return False

    def done(self) -> bool:
        """Whether it was delivered, or has failed."""
        return self._state == _FINISHED

    def result(self, timeout: float | None = None) -> T:
        """What became of it. Waits at most `timeout` seconds; TimeoutError then, PublishError if it failed."""
        if self._state == _FINISHED and self._exception is None:
            found: T = self._result
            return found
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The error, or None when it was delivered. Waits at most `timeout` seconds."""
        return self._exception if self._state == _FINISHED else super().exception(timeout)


class DeliveryFuture(ReportFuture[Delivery]):
    """The future of one event. `result(timeout)` gives a Delivery or raises DeliveryFailed."""

    def __init__(self, event_id: str, origin: Origin) -> None:
        self.event_id = event_id
        self._origin = origin

    def delivered(self, partition: int, offset: int, count: int) -> None:
        """Runs on: the delivery thread."""
        # As `finish`, without the call: it is made once an event.
        self._result = (partition, offset)
        self._state = _FINISHED
        if self._waiting is not None:
            self._notify()

    def failed(self, code: int, value: bytes) -> None:
        """Runs on: the delivery thread."""
        failure = DeliveryFailed.of(code, self.event_id)
        self._origin.on_failure(failure)
        self.finish(None, failure)

    def result(self, timeout: float | None = None) -> Delivery:
        """Where the event stands. Waits at most `timeout` seconds; TimeoutError then, DeliveryFailed if it failed."""
        if self._state != _FINISHED and self._origin.inherited:
            raise inherited("the event")
        place: Any = super().result(timeout)
        return Delivery(self.event_id, self._origin.topic, *place)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The error, or None when it was delivered. Waits at most `timeout` seconds."""
        if self._state != _FINISHED and self._origin.inherited:
            return inherited("the event")
        return super().exception(timeout)


class BatchReports:
    """Counts the reports of one batch, and says once how it ended. One object for all events of a batch.

    The batch's own `seal` counts as one report more, so that it is not over before everything is sent.
    on_done: gets the number of events, and the error that names those which were not delivered. Runs on: the delivery
    thread, or the one that seals.
    """

    def __init__(self, origin: Origin, batch: EventBatch, on_done: Callable[[int, BatchFailed | None], object]) -> None:
        self._origin = origin
        self._on_done = on_done
        # librdkafka reads the values where they are: they are kept by who is kept until the last report.
        self._batch = batch
        # Guards the two counts. Taken by delivery threads, that of a producer that was given up beside that of the next
        # one, and by the thread that seals.
        self._counting = threading.Lock()
        self._reported_count = 0
        self._sent_count: int | None = None
        self._failed: list[FailedEvent] = []
        self._unsent: list[FailedEvent] = []

    def delivered(self, partition: int, offset: int, count: int) -> None:
        """Runs on: the delivery thread."""
        self._count(count)

    def failed(self, code: int, value: bytes) -> None:
        """Runs on: the delivery thread."""
        failure = DeliveryFailed.of(code, "")
        self._origin.on_failure(failure)
        self._failed.append(FailedEvent(value, failure))
        self._count(1)

    def seal(self, sent_count: int, error: PublishError | None = None) -> None:
        """No more events will be sent than these; `error` kept back the others."""
        if error is not None:
            self._unsent = [FailedEvent(value, error) for value in self._batch.values_from(sent_count)]
        self._count(0, sent_count)

    def _count(self, count: int, sent_count: int | None = None) -> None:
        # Non-obvious: of the last report and the seal of a batch exactly one may see that all is over. Else its future
        # would be done twice, or never: so counting and comparing are one step.
        with self._counting:
            if sent_count is not None:
                self._sent_count = sent_count
            self._reported_count += count
            is_last = self._reported_count == self._sent_count
        if is_last:
            self._finish(self._reported_count)

    def _finish(self, sent_count: int) -> None:
        failed, event_count = self._failed + self._unsent, sent_count + len(self._unsent)
        self._on_done(event_count, BatchFailed(failed, event_count) if failed else None)


class BatchFuture(ReportFuture[int]):
    """The future of a `publish_many`. `result(timeout)` gives the count of events, or raises BatchFailed."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def result(self, timeout: float | None = None) -> int:
        """How many events were delivered: all of them. Waits at most `timeout` seconds; TimeoutError then."""
        if self._state != _FINISHED and self._origin.inherited:
            raise inherited("the batch")
        return super().result(timeout)
