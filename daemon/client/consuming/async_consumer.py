"""AsyncConsumer: reads the events of a topic from asyncio. It waits for Kafka on a thread of its own."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Unpack

from ..closing import AsyncClosing
from ..events import Event
from .consume_loop import Call, ConsumeLoop, Offer, Pause
from .consume_methods import ConsumeMethods, Handler
from .decoding import EventDecoder
from .filters import EventFilter
from .group_member import GroupMember
from .options import ConsumerOptions, ConsumerSettings


class AsyncConsumer(ConsumeMethods[Coroutine[Any, Any, None]], AsyncClosing):
    """Reads events as a member of a group; see `Consumer` for what is promised and for the options.

    A handler may be a coroutine function or a plain one. Events are handled one after the other. Cancelling a
    `consume_…` leaves the event in hand undone: it is offered again by the next call, or to another member.

    Runs on: the loop on which it is first used. `stop` too.
    """

    def __init__(
        self,
        brokers: str | Sequence[str],
        topic: str | Sequence[str],
        group_id: str,
        **options: Unpack[ConsumerOptions],
    ) -> None:
        self._settings = ConsumerSettings(**options)
        self._member = GroupMember(brokers, topic, group_id, self._settings)
        self._loop: ConsumeLoop[Event] = ConsumeLoop(self._member, self._is_stopping)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ingestd-consumer")
        # What the thread does for a call that was cancelled: the next call waits for it first.
        self._running: Future[object] | None = None
        self._stopping = asyncio.Event()

    @property
    def missed_count(self) -> int:
        """Records that were deleted from Kafka before this consumer could read them. Each time is a warning, too."""
        return self._member.missed_count

    async def events(self, event_filter: EventFilter | None = None) -> AsyncGenerator[Event, None]:
        """Events one by one, until `stop`. One is done when the next is asked for: after a `break` or an exception in
        the loop's body it comes again."""
        steps = self._loop.steps(EventDecoder(event_filter, self._settings))
        try:
            for step in steps:
                if isinstance(step, Offer):
                    yield step.content
                else:
                    await self._do(step)
        finally:
            steps.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self.events()

    def stop(self) -> None:
        """End what runs, after the handler in hand. For good: a stopped consumer is only closed."""
        self._stopping.set()

    async def close(self) -> None:
        """Commit what is done and leave the group; waits `close_timeout_s` at most."""
        self._stopping.set()
        if self._running is not None:
            await _ended(self._running)
            self._running = None  # what it raised was the business of the call that was cancelled
        if not self._member.closed:
            await self._on_thread(self._member.close)
        self._thread.shutdown(wait=False)

    def _is_stopping(self) -> bool:
        return self._stopping.is_set() or self._member.closed

    async def _run(self, handler: Handler, event_filter: EventFilter | None) -> None:
        steps = self._loop.steps(EventDecoder(event_filter, self._settings))
        try:
            for step in steps:
                if isinstance(step, Offer):
                    try:
                        result = handler(step.content)
                        if inspect.isawaitable(result):
                            await result
                    except self._settings.retry_on as error:
                        step.failure = error
                else:
                    await self._do(step)
        finally:
            steps.close()

    async def _do(self, step: Call | Pause) -> None:
        if isinstance(step, Call):
            await self._on_thread(step.work)
            return
        try:
            async with asyncio.timeout(step.seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _on_thread(self, work: Callable[[], object]) -> None:
        """A call that was cancelled goes on there, and nothing of what it took is lost."""
        await self._settle()
        self._running = self._thread.submit(work)
        await self._settle()

    async def _settle(self) -> None:
        """Wait for what the thread does. Raises what it raised."""
        running = self._running
        if running is not None:
            await _ended(running)
            self._running = None
            running.result()


async def _ended(work: Future[object]) -> None:
    """Until it has ended, whatever it raised. Unlike `await`, `wait` does not cancel what it waits for."""
    wrapped = asyncio.wrap_future(work)
    wrapped.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait([wrapped])
