"""Decodes the records of a batch into what the handler gets, or into a dead letter for what cannot be read."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from confluent_kafka import Message

from ...events.vocabulary import FAULT_MESSAGES, Fault
from ..events import Event, InvalidEvent
from .dead_letters import DeadLetter
from .filters import EventFilter, Matcher, fault_name
from .messages import place_of
from .options import ConsumerSettings

T_co = TypeVar("T_co", covariant=True)


class Decoder(Protocol[T_co]):
    """Reads a batch. By message: what the handler gets, a DeadLetter for a bad one, None for one that is not wanted."""

    def decode(self, messages: Sequence[Message]) -> Sequence[T_co | DeadLetter | None]: ...


class EventDecoder:
    """Events that pass a filter, with their id and their correlation id found as the daemon finds them."""

    def __init__(self, event_filter: EventFilter | None, settings: ConsumerSettings) -> None:
        self._matcher = Matcher(event_filter, settings.batch_events_max)
        self._headers = settings.correlation_headers

    def decode(self, messages: Sequence[Message]) -> list[Event | DeadLetter | None]:
        found: list[Event | DeadLetter | None] = []
        matches = self._matcher.match(messages, self._headers)
        for message, (fault, matched, correlation_id) in zip(messages, matches, strict=True):
            if fault:
                found.append(DeadLetter(message, "decode", fault_name(fault), FAULT_MESSAGES[Fault(fault)]))
            elif not matched:
                found.append(None)
            else:
                found.append(self._read(message, correlation_id))
        return found

    def _read(self, message: Message, correlation_id: str) -> Event | DeadLetter:
        try:
            event = Event.from_json(message.value() or b"")
        except InvalidEvent as error:
            # Good for the daemon, which does not look into the data: a number, say, that Python can't hold.
            return DeadLetter(message, "decode", "invalid_event", str(error))
        if not event.id:
            event.id = "{}-{}-{}".format(*place_of(message))
        if correlation_id and not event.correlation_id:
            event.correlation_id = correlation_id
        return event
