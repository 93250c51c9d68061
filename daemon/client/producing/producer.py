"""Producer: publishes events to Kafka from any thread, with a future for each."""

import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Unpack

from ..._librdkafka import EventBatch
from ..closing import Closing
from ..context import current
from ..events import Event
from .delivery import BatchFuture, DeliveryFuture, PublishError
from .options import ProducerOptions, settle
from .publishing import EventMaker, Made, PublishMethods
from .record import RecordMaker
from .shared_producer import SharedProducer


class Core:
    """What a producer is made of, whatever waits for it: settings, the makers, the shared producer."""

    def __init__(
        self,
        brokers: str | Sequence[str],
        topic: str,
        service: str,
        options: ProducerOptions,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        if not topic:
            raise ValueError("topic: is empty")
        self.maker = EventMaker(service, now_ns)
        settings = settle(brokers, service, options)
        self.close_timeout_s = settings.close_timeout_s
        self.records = RecordMaker(settings.header_names, settings.event_bytes_max)
        self.shared = SharedProducer(
            settings.librdkafka, topic, settings.queue_timeout_s, settings.log, settings.refresh_token
        )
        self.log = settings.log

    def own_event(self, event: Event) -> Made:
        """A program's own event, checked and filled."""
        context, sampled = self.maker.context_for(event)
        return self.records.checked(event, self.maker.service, context, self.maker.now), sampled

    def batch(self, events: Iterable[Event]) -> EventBatch:
        """The records of a batch. Raises InvalidEvent with the place in it, before anything is sent."""
        return self.records.batch(events, self.maker.service, current(), self.maker.now)

    def close(self, timeout_s: float | None) -> None:
        """Raises PublishError when events had to be given up; their futures say so too."""
        given_up_count = self.shared.close(self.close_timeout_s if timeout_s is None else timeout_s)
        if given_up_count:
            raise PublishError(f"{given_up_count} events were not acknowledged in time and were given up")

    def close_left_open(self) -> None:
        """For a producer that nobody closed: what it was given is sent all the same. Runs on: whoever ends it."""
        given_up_count = self.shared.close(self.close_timeout_s)
        if given_up_count:
            self.log.error("events were not delivered before the program ended", extra={"events": given_up_count})


class Producer(PublishMethods[DeliveryFuture], Closing):
    """Publishes events to one topic.

        with Producer("localhost:9092", "observability.events", "checkout") as producer:
            producer.publish_log("info", "api", "order accepted", {"env": "prod"}, {"items": 3})

    brokers: "host:port,host:port", or a sequence of them. topic: `kafka.topics.observability_events` of the daemon, or
    a typed topic. service: the `service` field of its events. options: see ProducerOptions; TypeError for an unknown
    one, ValueError for one that librdkafka refuses. It does not wait for a broker.

    `publish_*` return at once with a `concurrent.futures.Future`, whose `result(timeout)` gives a Delivery (event id,
    topic, partition, offset) or raises DeliveryFailed, and whose `event_id` is known from the start. While the queue is
    full they block, up to `queue_timeout_s`, and then raise QueueFull. A failure that nobody looks at is a log line of
    `ingestd.client` too. May be used from any thread; in the child of a fork it works with a connection of its own, and
    what the parent had published stays the parent's. A producer that is not closed is at the end of the program.
    """

    def __init__(
        self, brokers: str | Sequence[str], topic: str, service: str, **options: Unpack[ProducerOptions]
    ) -> None:
        self.core = Core(brokers, topic, service, options)
        self._maker = self.core.maker
        self._writer = self.core.records.writer
        self._shared = self.core.shared
        self._finalizer = weakref.finalize(self, self.core.close_left_open)

    @property
    def service(self) -> str:
        """The `service` of its events."""
        return self._maker.service

    @property
    def topic(self) -> str:
        """The topic that it publishes to."""
        return self._shared.topic

    @property
    def waiting_count(self) -> int:
        """Events that are not acknowledged yet."""
        return self._shared.waiting_count()

    def _publish(self, made: Made) -> DeliveryFuture:
        event, sampled = made
        shared = self._shared
        future = DeliveryFuture(event.id, shared.origin)
        shared.send((self._writer, event, sampled), future)
        return future

    def publish_event(self, event: Event) -> DeliveryFuture:
        return self._publish(self.core.own_event(event))

    def try_publish_event(self, event: Event) -> DeliveryFuture | None:
        """As `publish_event`, but None at once when the queue is full. Never blocks."""
        event, sampled = self.core.own_event(event)
        future = DeliveryFuture(event.id, self._shared.origin)
        return future if self._shared.try_send((self._writer, event, sampled), future) else None

    def publish_many(self, events: Iterable[Event]) -> BatchFuture:
        """Publish events of one's own, filled in as by `publish_event`: the cheapest form an event.

        All are checked before the first is sent: InvalidEvent names the place, and nothing is sent then. The future's
        `result(timeout)` gives their number when all are acknowledged, or raises BatchFailed, which names those that
        are not: also those for which the queue had no room in time. QueueFull is raised when it had room for none.
        """
        batch = self.core.batch(events)
        future = BatchFuture(self._shared.origin)
        for is_full in self._shared.batch_steps(batch, len(batch), future.finish):
            if is_full:
                self._shared.wait_for_room()
        return future

    def flush(self, timeout_s: float = 30.0) -> int:
        """Send what lingers, and wait for all acknowledgements. How many events still wait when the time is over."""
        return self._shared.flush(timeout_s)

    def close(self, timeout_s: float | None = None) -> None:
        """Wait for all acknowledgements, up to `timeout_s` (else `close_timeout_s`), and end. May be called again.

        What is not acknowledged by then is given up: its futures fail, and PublishError says how many. Publishing
        afterwards raises ProducerClosed.
        """
        self._finalizer.detach()
        self.core.close(timeout_s)
