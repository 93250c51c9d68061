"""What is done with the records of an intake. Handlers in; each event handled, tried again or dead-lettered, out."""

import math
import time
from collections.abc import Callable, Generator, Sequence
from random import Random
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, Unpack

from confluent_kafka import Message

from ...backoff import delay_s
from ...errors import IngestdError
from ...events.vocabulary import FAULT_MESSAGES, Fault
from ..events import Event, InvalidEvent
from .filters import EventFilter, Matcher, fault_name
from .intake import SLICE_S, Intake, Letter, Options, Settings, Stopped, place_of

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Reject(IngestdError):
    """Raised by a handler: this event goes to the dead letters at once, without another try. The text says why."""


class Decoder(Protocol[T_co]):
    """Reads a batch. By message: what the handler gets, a Letter for a bad one, or None for one that is not wanted."""

    def decode(self, messages: Sequence[Message]) -> Sequence[T_co | Letter | None]: ...


class EventDecoder:
    """Events that pass a filter, with their id and their correlation id found as the daemon finds them."""

    def __init__(self, event_filter: EventFilter | None, settings: Settings) -> None:
        self._matcher = Matcher(event_filter, settings.batch_events_max)
        self._headers = settings.correlation_headers

    def decode(self, messages: Sequence[Message]) -> list[Event | Letter | None]:
        found: list[Event | Letter | None] = []
        matches = self._matcher.match(messages, self._headers)
        for message, (fault, matched, correlation_id) in zip(messages, matches, strict=True):
            if fault:
                found.append(Letter(message, "decode", fault_name(fault), FAULT_MESSAGES[Fault(fault)]))
            elif not matched:
                found.append(None)
            else:
                found.append(self._read(message, correlation_id))
        return found

    def _read(self, message: Message, correlation_id: str) -> Event | Letter:
        try:
            event = Event.from_json(message.value() or b"")
        except InvalidEvent as error:
            # Good for the daemon, which does not look into the data: a number, say, that Python can't hold.
            return Letter(message, "decode", "invalid_event", str(error))
        if not event.id:
            event.id = "{}-{}-{}".format(*place_of(message))
        if correlation_id and not event.correlation_id:
            event.correlation_id = correlation_id
        return event


class Failures:
    """The tries of one event. Exceptions in; how long to wait, or the Letter that it becomes, out."""

    def __init__(self, settings: Settings, random: Random) -> None:
        self._settings = settings
        self._random = random
        self._attempt = 0

    def failed(self, message: Message, error: BaseException) -> float | Letter:
        """Seconds until the next try, or the dead letter when there is none."""
        if isinstance(error, Reject) or self._attempt >= self._settings.retries:
            return Letter(message, "handle", type(error).__name__, str(error))
        settings = self._settings
        wait_s = delay_s(self._attempt, self._random, first_s=settings.retry_first_s, max_s=settings.retry_max_s)
        self._attempt += 1
        return wait_s


class Loop(Generic[T]):
    """Runs on: the caller's thread. `stop` and `close` on any, and in a signal handler."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self._settings = intake.settings
        self._random = Random()
        # A plain flag: a lock could be held by the very code that a signal interrupts.
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        self._stopping = True
        self.intake.close()

    def is_stopping(self) -> bool:
        return self._stopping or self.intake.closed

    def deliveries(self, decoder: Decoder[T]) -> Generator[tuple[Message, T], None, None]:
        """Each wanted event. Going on means that it is done; what is not is offered again by the next call."""
        intake = self.intake
        idle_s = math.inf if self._settings.idle_stop_s is None else self._settings.idle_stop_s
        heard_s = time.monotonic()
        try:
            while not self.is_stopping():
                intake.fetch()
                begun_s, count = time.monotonic(), len(intake.left)
                if not count:
                    heard_s = heard_s if intake.joined else begun_s
                    if begun_s - heard_s >= idle_s:
                        return
                    continue
                yield from self._batch(decoder)
                if self.is_stopping():
                    return
                heard_s = time.monotonic()
                intake.pace(count, heard_s - begun_s)
        except Stopped:
            return
        finally:
            intake.store()

    def _batch(self, decoder: Decoder[T]) -> Generator[tuple[Message, T], None, None]:
        intake = self.intake
        batch = list(intake.left)
        found = decoder.decode(batch)
        intake.bury([each for each in found if isinstance(each, Letter)], self.is_stopping)
        for message, content in zip(batch, found, strict=True):
            if self.is_stopping():
                return
            if content is not None and not isinstance(content, Letter):
                yield message, content
                intake.pass_first()
                intake.store()
            else:
                intake.pass_first()
        intake.store()

    def run(self, decoder: Decoder[T], handler: Callable[[T], object]) -> None:
        """Until `stop`. What is no failure of an event, Ctrl-C too, closes the consumer and goes on up."""
        deliveries = self.deliveries(decoder)
        try:
            for message, content in deliveries:
                self._handle(handler, message, content)
        except Stopped:
            pass
        except BaseException:
            deliveries.close()
            self.close()
            raise
        finally:
            deliveries.close()

    def _handle(self, handler: Callable[[T], object], message: Message, content: T) -> None:
        failures = Failures(self._settings, self._random)
        while True:
            try:
                handler(content)
                return
            except self._settings.retry_on as error:
                answer = failures.failed(message, error)
            if isinstance(answer, Letter):
                self.intake.bury([answer], self.is_stopping)
                return
            self._pause(answer)

    def _pause(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            if self.is_stopping():
                raise Stopped
            time.sleep(min(SLICE_S, left_s))


class Member:
    """What every consumer is, whatever it gives its handlers: one member of a group, with its settings."""

    def __init__(
        self, brokers: str | Sequence[str], topic: str | Sequence[str], group_id: str, **options: Unpack[Options]
    ) -> None:
        self._settings = Settings(**options)
        self._intake = Intake(brokers, topic, group_id, self._settings)

    @property
    def missed_count(self) -> int:
        """Records that were deleted from Kafka before this consumer could read them. Each time is a warning, too."""
        return self._intake.missed_count


class BlockingConsumer(Member, Generic[T]):
    """A consumer whose handlers run in the caller's thread: its loop, and how that is ended."""

    def __init__(
        self, brokers: str | Sequence[str], topic: str | Sequence[str], group_id: str, **options: Unpack[Options]
    ) -> None:
        super().__init__(brokers, topic, group_id, **options)
        self._loop: Loop[T] = Loop(self._intake)

    def stop(self) -> None:
        """End what runs, after the handler in hand. For good: a stopped consumer is only closed."""
        self._loop.stop()

    def close(self) -> None:
        """Commit what is done and leave the group; waits `close_timeout_s` at most."""
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
