"""A consumer's loop as steps without I/O: fetch, offer each event, try it again, dead-letter it, store its offset.

`ConsumeLoop.steps` is a generator. `BlockingConsumer` does its steps in the calling thread, `AsyncConsumer` on the
event loop and a thread beside it: both are one piece of code, as both stores are (`lookup.plans`). Nothing waits here.
"""

import math
import time
from collections.abc import Callable, Generator, Sequence
from itertools import count
from random import Random
from typing import Final, Generic, TypeAlias, TypeVar

from confluent_kafka import Message

from ...backoff import delay_s
from ...errors import IngestdError
from .dead_letters import DeadLetter, DeadLetterFailed
from .decoding import Decoder
from .group_member import GroupMember

T = TypeVar("T")
# Between two tries to publish dead letters.
DEAD_LETTER_PAUSE_MAX_S: Final = 1.0


class Reject(IngestdError):
    """Raised by a handler: this event goes to the dead letters at once, without another try. The text says why."""


class Call:
    """A step: a call of the group member that may block. At most one runs at a time, on any thread."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work


class Pause:
    """A step: wait so long, or until the consumer is stopped."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Offer(Generic[T]):
    """A step: an event for the program. Going on means that it is done, unless `failure` has what it raised."""

    __slots__ = ("content", "failure")

    def __init__(self, content: T) -> None:
        self.content = content
        self.failure: BaseException | None = None


Steps: TypeAlias = Generator[Call | Pause | Offer[T], None, None]


class _Stopped(Exception):
    """`stop` was called while something was to be tried again."""


class ConsumeLoop(Generic[T]):
    """The steps of one consumer. Runs on: the thread or the event loop that consumes.

    is_stopping: whether the consumer is to stop, asked between any two steps.
    """

    def __init__(self, member: GroupMember, is_stopping: Callable[[], bool]) -> None:
        self._member = member
        self._settings = member.settings
        self._is_stopping = is_stopping
        self._random = Random()

    def steps(self, decoder: Decoder[T]) -> Steps[T]:
        """Until the consumer is stopped, or idle for `idle_stop_s`. Close it when it is left before its end: what has
        ended by then is stored, and the rest is offered again by the next one."""
        member = self._member
        idle_s = math.inf if self._settings.idle_stop_s is None else self._settings.idle_stop_s
        heard_s = time.monotonic()
        try:
            while not self._is_stopping():
                yield Call(member.fetch)
                begun_s, taken_count = time.monotonic(), len(member.left)
                if not taken_count:
                    heard_s = heard_s if member.joined else begun_s
                    if begun_s - heard_s >= idle_s:
                        return
                    continue
                yield from self._batch(decoder)
                heard_s = time.monotonic()
                if not self._is_stopping():
                    member.pace(taken_count, heard_s - begun_s)
        except _Stopped:
            return
        finally:
            member.store()

    def _batch(self, decoder: Decoder[T]) -> Steps[T]:
        member = self._member
        batch = list(member.left)
        found = decoder.decode(batch)
        yield from self._dead_letter([each for each in found if isinstance(each, DeadLetter)])
        for message, content in zip(batch, found, strict=True):
            if self._is_stopping():
                return
            if content is not None and not isinstance(content, DeadLetter):
                yield from self._offer(message, content)
                member.end_first()
                member.store()
            else:
                member.end_first()
        member.store()

    def _offer(self, message: Message, content: T) -> Steps[T]:
        """Until its handler has returned, or it is a dead letter."""
        for attempt in count():
            offer = Offer(content)
            yield offer
            failure = offer.failure
            if failure is None:
                return
            if isinstance(failure, Reject) or attempt >= self._settings.retries:
                yield from self._dead_letter([DeadLetter(message, "handle", type(failure).__name__, str(failure))])
                return
            yield from self._pause(self._retry_delay_s(attempt))

    def _retry_delay_s(self, attempt: int) -> float:
        settings = self._settings
        return delay_s(attempt, self._random, first_s=settings.retry_first_s, max_s=settings.retry_max_s)

    def _pause(self, seconds: float) -> Steps[T]:
        yield Pause(seconds)
        if self._is_stopping():
            raise _Stopped

    def _dead_letter(self, letters: Sequence[DeadLetter]) -> Steps[T]:
        """Publish them, each once, again and again up to `dead_letter_timeout_s`. Raises DeadLetterFailed."""
        member, why = self._member, ""
        deadline_s, attempt = time.monotonic() + self._settings.dead_letter_timeout_s, 0

        def publish() -> None:
            nonlocal why
            why = member.publish_dead_letters(waiting, deadline_s)

        while waiting := member.without_published(letters):
            if attempt:
                if self._is_stopping():
                    raise _Stopped
                if time.monotonic() > deadline_s:
                    topic = self._settings.dead_letter_topic
                    raise DeadLetterFailed(f"{len(waiting)} dead letters for {topic} were not acknowledged: {why}")
                yield from self._pause(delay_s(attempt - 1, self._random, max_s=DEAD_LETTER_PAUSE_MAX_S))
            attempt += 1
            yield Call(publish)
