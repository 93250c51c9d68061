"""Consumer: reads the events of a topic as they come, for a handler or a `for` loop, in the calling thread.

At least once: an event is committed after its handler has returned, or after its dead letter was acknowledged. After a
crash, and when the group gives its partition to another member in between, it comes again.
"""

from collections.abc import Iterator

from ..events import Event
from .blocking_consumer import BlockingConsumer
from .consume_methods import ConsumeMethods, Handler
from .decoding import EventDecoder
from .filters import EventFilter


class Consumer(ConsumeMethods[None], BlockingConsumer[Event]):
    """Reads events as a member of a group.

    brokers: `host:port`, several with commas or as a list. topic: one or a list. options: see `ConsumerSettings`.

    A handler that raises is called again, `retries` times with back-off; then the event goes to `dead_letter_topic`,
    its bytes unchanged, with the reason in headers `__ingestd.errors.*`. So does what is no event. A handler that
    raises `Reject` is not called again. Every `consume_…` runs until `stop`, which may be called from a handler,
    another thread or a signal handler; Ctrl-C closes the consumer and goes on up.

    Records that were deleted from Kafka before they could be read are counted in `missed_count`, and said in a warning
    of the logger `ingestd.client`; reading continues at the log's start.

    Runs on: one thread at a time, but for `stop` and `close`, which may be called on any.
    """

    def _run(self, handler: Handler, event_filter: EventFilter | None) -> None:
        self._consume(EventDecoder(event_filter, self._settings), handler)

    def events(self, event_filter: EventFilter | None = None) -> Iterator[Event]:
        """Events one by one, until `stop`. One is done when the next is asked for: after a `break` or an exception in
        the loop's body it comes again."""
        return self._contents(EventDecoder(event_filter, self._settings))

    def __iter__(self) -> Iterator[Event]:
        return self.events()
