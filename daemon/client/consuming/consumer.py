"""Consumer: events of a topic, as they come, for a handler or a `for` loop. Kafka in; handled events committed, out.

At least once: an event is committed after its handler has returned, or after its dead letter was acknowledged. After a
crash, and when the group gives its partition to another member in between, it comes again.
"""

from collections.abc import Callable, Iterator, Sequence

from ..events import Event
from .filters import EventFilter
from .loop import BlockingConsumer, EventDecoder

Handler = Callable[[Event], object]


class Consumer(BlockingConsumer[Event]):
    """Reads events as a member of a group.

    brokers: `host:port`, several with commas or as a list. topic: one or a list. options: see `Settings`.

    A handler that raises is called again, `retries` times with back-off; then the event goes to `dead_letter_topic`,
    its bytes unchanged, with the reason in headers `__ingestd.errors.*`. So does what is no event. A handler that
    raises `Reject` is not called again. Every `consume_…` runs until `stop`, which may be called from a handler,
    another thread or a signal handler; Ctrl-C closes the consumer and goes on up.

    Records that were deleted from Kafka before they could be read are counted in `missed_count`, and said in a warning
    of the logger `ingestd.client`; reading goes on at the log's start.

    Runs on: one thread at a time, but for `stop` and `close`.
    """

    def consume_events(self, handler: Handler) -> None:
        """Every event."""
        self._run(handler, None)

    def consume_logs(self, handler: Handler) -> None:
        """Events of type log, whatever their level."""
        self._run(handler, EventFilter(types="log"))

    def consume_metrics(self, handler: Handler) -> None:
        """Events of type metric."""
        self._run(handler, EventFilter(types="metric"))

    def consume_alerts(self, handler: Handler) -> None:
        """Events of type alert."""
        self._run(handler, EventFilter(types="alert"))

    def consume_traces(self, handler: Handler) -> None:
        """Events of type trace: the begin and the end of each span."""
        self._run(handler, EventFilter(types="trace"))

    def consume_health(self, handler: Handler) -> None:
        """Events of type health, the daemon's own among them."""
        self._run(handler, EventFilter(types="health"))

    def consume_errors(self, handler: Handler) -> None:
        """Events of level error and fatal, of every type."""
        self._run(handler, EventFilter(levels=("error", "fatal")))

    def consume_by_service(self, handler: Handler, *services: str) -> None:
        """Events of one or several services."""
        self._run(handler, EventFilter(services=named("service", services)))

    def consume_by_component(self, handler: Handler, *components: str) -> None:
        """Events of one or several components."""
        self._run(handler, EventFilter(components=named("component", components)))

    def consume_by_correlation_id(self, handler: Handler, *correlation_ids: str) -> None:
        """Also events whose correlation id stands in a header, in metadata or in labels."""
        self._run(handler, EventFilter(correlation_ids=named("correlation id", correlation_ids)))

    def consume_with_filter(self, handler: Handler, event_filter: EventFilter) -> None:
        """Events that pass the filter. The others count as done."""
        self._run(handler, event_filter)

    def _run(self, handler: Handler, event_filter: EventFilter | None) -> None:
        self._loop.run(EventDecoder(event_filter, self._settings), handler)

    def events(self, event_filter: EventFilter | None = None) -> Iterator[Event]:
        """Events one by one, until `stop`. One is done when the next is asked for: after a `break` or an exception in
        the loop's body it comes again."""
        for _, event in self._loop.deliveries(EventDecoder(event_filter, self._settings)):
            yield event

    def __iter__(self) -> Iterator[Event]:
        return self.events()


def named(what: str, words: Sequence[str]) -> tuple[str, ...]:
    """At least one: an empty field of a filter takes any."""
    if not words:
        raise ValueError(f"name at least one {what}")
    return tuple(words)
