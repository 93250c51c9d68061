"""AsyncProducer: publishes events to Kafka from asyncio, and gives the answer on the loop that asked."""

import asyncio
import functools
import inspect
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Concatenate, Final, ParamSpec, Unpack

from ..closing import AsyncClosing
from ..events import Event
from .delivery import Delivery, DeliveryFailed, Origin
from .options import ProducerOptions
from .producer import Core
from .publishing import Made, PublishMethods

P = ParamSpec("P")
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


class _Sender(PublishMethods[Sent]):
    """Sends for the running loop, without blocking it. Its `publish_*` give the future: they are `send_*` outside.

    Runs on: any loop, each in its thread.
    """

    def __init__(self, core: Core) -> None:
        self._maker = core.maker
        self._core = core
        self._shared = core.shared
        self._answers: Answers | None = None

    def answers(self) -> Answers:
        """Those of the running loop."""
        loop, answers = asyncio.get_running_loop(), self._answers
        if answers is None or answers.loop is not loop:
            answers = self._answers = Answers(loop)
        return answers

    def _publish(self, made: Made) -> Sent:
        return self.send(made)

    def publish_event(self, event: Event) -> Sent:
        return self.send(self._core.own_event(event))

    async def send(self, made: Made) -> "asyncio.Future[Delivery]":
        event, sampled = made
        report = _Report(event.id, self._shared.origin, self.answers())
        for _ in self._shared.send_steps((self._core.records.writer, event, sampled), report):
            await asyncio.sleep(FULL_TICK_S)
        return report.future

    async def send_many(self, events: Iterable[Event]) -> "asyncio.Future[int]":
        batch, answers = self._core.batch(events), self.answers()
        future: asyncio.Future[int] = answers.loop.create_future()
        on_done = functools.partial(answers.add, future)
        for is_full in self._shared.batch_steps(batch, BATCH_TURN_EVENTS, on_done):
            await asyncio.sleep(FULL_TICK_S if is_full else 0)
        return future


def _as(
    publish: Callable[Concatenate[Any, P], Sent],
) -> Callable[[Callable[..., None]], Callable[Concatenate["AsyncProducer", P], Sent]]:
    """Makes a `send_*` of a `publish_*`: the same arguments, also for type checkers, editors and `help`."""

    def with_arguments(documented: Callable[..., None]) -> Callable[Concatenate["AsyncProducer", P], Sent]:
        @functools.wraps(documented)
        def send(self: "AsyncProducer", /, *args: P.args, **kwargs: P.kwargs) -> Sent:
            return publish(self._sender, *args, **kwargs)

        send.__signature__ = inspect.signature(publish).replace(return_annotation=Sent)  # type: ignore[attr-defined]
        return send

    return with_arguments


class AsyncProducer(PublishMethods[Coroutine[Any, Any, Delivery]], AsyncClosing):
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
        self._sender = _Sender(self.core)
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
        return await (await self._sender.send(made))

    def publish_event(self, event: Event) -> Coroutine[Any, Any, Delivery]:
        return self._delivered(self.core.own_event(event))

    async def publish_many(self, events: Iterable[Event]) -> int:
        """As Producer.publish_many; returns the number of events when all are acknowledged, or raises BatchFailed."""
        return await (await self._sender.send_many(events))

    async def send_many(self, events: Iterable[Event]) -> "asyncio.Future[int]":
        """As `publish_many`, but returns its future when all events are queued."""
        return await self._sender.send_many(events)

    @_as(_Sender.publish_event)
    def send_event(self) -> None:
        """`publish_event`, without waiting."""

    @_as(_Sender.publish_log)
    def send_log(self) -> None:
        """`publish_log`, without waiting."""

    @_as(_Sender.publish_metric)
    def send_metric(self) -> None:
        """`publish_metric`, without waiting."""

    @_as(_Sender.publish_alert)
    def send_alert(self) -> None:
        """`publish_alert`, without waiting."""

    @_as(_Sender.publish_trace)
    def send_trace(self) -> None:
        """`publish_trace`, without waiting."""

    @_as(_Sender.publish_health)
    def send_health(self) -> None:
        """`publish_health`, without waiting."""

    @_as(_Sender.publish_error)
    def send_error(self) -> None:
        """`publish_error`, without waiting."""

    async def flush(self, timeout_s: float = 30.0) -> int:
        """Send what lingers, and wait for all acknowledgements. How many events still wait when the time is over."""
        return await asyncio.to_thread(self.core.shared.flush, timeout_s)

    async def close(self, timeout_s: float | None = None) -> None:
        """As Producer.close."""
        self._finalizer.detach()
        await asyncio.to_thread(self.core.close, timeout_s)
