"""AsyncConsumer: the same as Consumer for asyncio. Kafka's waits are on a thread of its own, handlers on the loop."""

import asyncio
import inspect
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from random import Random
from types import TracebackType
from typing import Self, Unpack

from confluent_kafka import Message

from ..events import Event
from .consumer import Handler, named
from .filters import EventFilter
from .intake import Letter, Options, Stopped
from .loop import EventDecoder, Failures, Member


class AsyncConsumer(Member):
    """Reads events as a member of a group; see `Consumer` for what is promised and for the options.

    A handler may be a coroutine function or a plain one. Events are handled one after the other. Cancelling a
    `consume_…` leaves the event in hand undone: it is offered again by the next call, or to another member.

    Runs on: the loop on which it is first used. `stop` too.
    """

    def __init__(
        self, brokers: str | Sequence[str], topic: str | Sequence[str], group_id: str, **options: Unpack[Options]
    ) -> None:
        super().__init__(brokers, topic, group_id, **options)
        self._random = Random()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ingestd-consumer")
        # What the thread does for a call that was cancelled: the next call waits for it first.
        self._busy: Future[object] | None = None
        self._stopping = asyncio.Event()

    async def consume_events(self, handler: Handler) -> None:
        """Every event."""
        await self._run(handler, None)

    async def consume_logs(self, handler: Handler) -> None:
        """Events of type log, whatever their level."""
        await self._run(handler, EventFilter(types="log"))

    async def consume_metrics(self, handler: Handler) -> None:
        """Events of type metric."""
        await self._run(handler, EventFilter(types="metric"))

    async def consume_alerts(self, handler: Handler) -> None:
        """Events of type alert."""
        await self._run(handler, EventFilter(types="alert"))

    async def consume_traces(self, handler: Handler) -> None:
        """Events of type trace: the begin and the end of each span."""
        await self._run(handler, EventFilter(types="trace"))

    async def consume_health(self, handler: Handler) -> None:
        """Events of type health, the daemon's own among them."""
        await self._run(handler, EventFilter(types="health"))

    async def consume_errors(self, handler: Handler) -> None:
        """Events of level error and fatal, of every type."""
        await self._run(handler, EventFilter(levels=("error", "fatal")))

    async def consume_by_service(self, handler: Handler, *services: str) -> None:
        """Events of one or several services."""
        await self._run(handler, EventFilter(services=named("service", services)))

    async def consume_by_component(self, handler: Handler, *components: str) -> None:
        """Events of one or several components."""
        await self._run(handler, EventFilter(components=named("component", components)))

    async def consume_by_correlation_id(self, handler: Handler, *correlation_ids: str) -> None:
        """Also events whose correlation id stands in a header, in metadata or in labels."""
        await self._run(handler, EventFilter(correlation_ids=named("correlation id", correlation_ids)))

    async def consume_with_filter(self, handler: Handler, event_filter: EventFilter) -> None:
        """Events that pass the filter. The others count as done."""
        await self._run(handler, event_filter)

    async def events(self, event_filter: EventFilter | None = None) -> AsyncGenerator[Event, None]:
        """Events one by one, until `stop`. One is done when the next is asked for: after a `break` or an exception in
        the loop's body it comes again."""
        deliveries = self._deliveries(EventDecoder(event_filter, self._settings))
        try:
            async for _, event in deliveries:
                yield event
        finally:
            await deliveries.aclose()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self.events()

    def stop(self) -> None:
        """End what runs, after the handler in hand. For good: a stopped consumer is only closed."""
        self._stopping.set()

    async def close(self) -> None:
        """Commit what is done and leave the group; waits `close_timeout_s` at most."""
        self._stopping.set()
        if self._busy is not None:
            await _wait(self._busy)
            self._busy = None  # what it raised was the business of the call that was cancelled
        if not self._intake.closed:
            await self._call(self._intake.close)
        self._thread.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Inside

    def _is_stopping(self) -> bool:
        return self._stopping.is_set() or self._intake.closed

    async def _call(self, work: Callable[[], object]) -> None:
        """On the thread. A call that was cancelled goes on there, and nothing of what it took is lost."""
        await self._settle()
        self._busy = self._thread.submit(work)
        await self._settle()

    async def _settle(self) -> None:
        """Wait for what the thread does. Raises what it raised."""
        busy = self._busy
        if busy is not None:
            await _wait(busy)
            self._busy = None
            busy.result()

    async def _deliveries(self, decoder: EventDecoder) -> AsyncGenerator[tuple[Message, Event], None]:
        intake = self._intake
        idle_s = math.inf if self._settings.idle_stop_s is None else self._settings.idle_stop_s
        heard_s = time.monotonic()
        try:
            while not self._is_stopping():
                await self._call(intake.fetch)
                begun_s, count = time.monotonic(), len(intake.left)
                if not count:
                    heard_s = heard_s if intake.joined else begun_s
                    if begun_s - heard_s >= idle_s:
                        return
                    continue
                batch = list(intake.left)
                found = decoder.decode(batch)
                await self._bury([each for each in found if isinstance(each, Letter)])
                for message, content in zip(batch, found, strict=True):
                    if self._is_stopping():
                        return
                    if isinstance(content, Event):
                        yield message, content
                        intake.pass_first()
                        intake.store()
                    else:
                        intake.pass_first()
                intake.store()
                heard_s = time.monotonic()
                intake.pace(count, heard_s - begun_s)
        except Stopped:
            return
        finally:
            intake.store()

    async def _bury(self, letters: list[Letter]) -> None:
        if letters:
            await self._call(lambda: self._intake.bury(letters, self._is_stopping))

    async def _run(self, handler: Handler, event_filter: EventFilter | None) -> None:
        deliveries = self._deliveries(EventDecoder(event_filter, self._settings))
        try:
            async for message, event in deliveries:
                await self._handle(handler, message, event)
        except Stopped:
            pass
        finally:
            await deliveries.aclose()

    async def _handle(self, handler: Handler, message: Message, event: Event) -> None:
        failures = Failures(self._settings, self._random)
        while True:
            try:
                result = handler(event)
                if inspect.isawaitable(result):
                    await result
                return
            except self._settings.retry_on as error:
                answer = failures.failed(message, error)
            if isinstance(answer, Letter):
                await self._bury([answer])
                return
            await self._pause(answer)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
        raise Stopped


async def _wait(work: Future[object]) -> None:
    """Until it has ended, whatever it raised. Unlike `await`, `wait` does not cancel what it waits for."""
    wrapped = asyncio.wrap_future(work)
    wrapped.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait([wrapped])
