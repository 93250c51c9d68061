"""The `consume_*` methods, which both consumers have: each is a filter, and what runs it is the consumer's."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from ..events import Event
from .filters import EventFilter

Handler = Callable[[Event], object]
Ran = TypeVar("Ran", covariant=True)


class ConsumeMethods(Generic[Ran]):
    """Each runs until `stop`, or until nothing has come for `idle_stop_s`."""

    def _run(self, handler: Handler, event_filter: EventFilter | None) -> Ran:
        raise NotImplementedError

    def consume_events(self, handler: Handler) -> Ran:
        """Every event."""
        return self._run(handler, None)

    def consume_logs(self, handler: Handler) -> Ran:
        """Events of type log, whatever their level."""
        return self._run(handler, EventFilter(types="log"))

    def consume_metrics(self, handler: Handler) -> Ran:
        """Events of type metric."""
        return self._run(handler, EventFilter(types="metric"))

    def consume_alerts(self, handler: Handler) -> Ran:
        """Events of type alert."""
        return self._run(handler, EventFilter(types="alert"))

    def consume_traces(self, handler: Handler) -> Ran:
        """Events of type trace: the begin and the end of each span."""
        return self._run(handler, EventFilter(types="trace"))

    def consume_health(self, handler: Handler) -> Ran:
        """Events of type health, the daemon's own among them."""
        return self._run(handler, EventFilter(types="health"))

    def consume_errors(self, handler: Handler) -> Ran:
        """Events of level error and fatal, of every type."""
        return self._run(handler, EventFilter(levels=("error", "fatal")))

    def consume_by_service(self, handler: Handler, *services: str) -> Ran:
        """Events of one or several services."""
        return self._run(handler, EventFilter(services=_at_least_one("service", services)))

    def consume_by_component(self, handler: Handler, *components: str) -> Ran:
        """Events of one or several components."""
        return self._run(handler, EventFilter(components=_at_least_one("component", components)))

    def consume_by_correlation_id(self, handler: Handler, *correlation_ids: str) -> Ran:
        """Also events whose correlation id stands in a header, in metadata or in labels."""
        return self._run(handler, EventFilter(correlation_ids=_at_least_one("correlation id", correlation_ids)))

    def consume_with_filter(self, handler: Handler, event_filter: EventFilter) -> Ran:
        """Events that pass the filter. The others count as done."""
        return self._run(handler, event_filter)


def _at_least_one(what: str, words: Sequence[str]) -> tuple[str, ...]:
    # An empty field of a filter takes any.
    if not words:
        raise ValueError(f"name at least one {what}")
    return tuple(words)
