"""For other people's programs: publish, read and look up observability events.

The names below are loaded when they are first used, so that importing this costs nothing. Publishing and consuming need
what `pip install ingestd` brings, confluent-kafka and msgspec; looking up needs `ingestd[lookup]`, and a service that
reads its config from a file `ingestd[config]`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# For type checkers and editors: the same names as in _MODULES, which a test holds to be so.
if TYPE_CHECKING:
    from .async_consumer import AsyncConsumer as AsyncConsumer
    from .async_producer import AsyncProducer as AsyncProducer
    from .consumer import Consumer as Consumer
    from .context import HeaderNames as HeaderNames
    from .context import TraceContext as TraceContext
    from .context import attach as attach
    from .context import bind as bind
    from .context import current as current
    from .context import detach as detach
    from .context import extract as extract
    from .context import inject as inject
    from .delivery import BatchFailed as BatchFailed
    from .delivery import Delivery as Delivery
    from .delivery import DeliveryFailed as DeliveryFailed
    from .delivery import ProducerClosed as ProducerClosed
    from .delivery import PublishError as PublishError
    from .delivery import QueueFull as QueueFull
    from .events import Event as Event
    from .events import EventType as EventType
    from .events import InvalidEvent as InvalidEvent
    from .events import Level as Level
    from .filters import EventFilter as EventFilter
    from .intake import ConsumerFailed as ConsumerFailed
    from .intake import DeadLetterFailed as DeadLetterFailed
    from .log_handler import LogHandler as LogHandler
    from .loop import Reject as Reject
    from .producer import Producer as Producer
    from .service import AsyncEventStreamingService as AsyncEventStreamingService
    from .service import EventStreamingService as EventStreamingService
    from .store import AsyncEventStore as AsyncEventStore
    from .store import EventStore as EventStore

_MODULES = {
    "AsyncConsumer": "async_consumer",
    "AsyncEventStore": "store",
    "AsyncEventStreamingService": "service",
    "AsyncProducer": "async_producer",
    "BatchFailed": "delivery",
    "Consumer": "consumer",
    "ConsumerFailed": "intake",
    "DeadLetterFailed": "intake",
    "Delivery": "delivery",
    "DeliveryFailed": "delivery",
    "Event": "events",
    "EventFilter": "filters",
    "EventStore": "store",
    "EventStreamingService": "service",
    "EventType": "events",
    "HeaderNames": "context",
    "InvalidEvent": "events",
    "Level": "events",
    "LogHandler": "log_handler",
    "Producer": "producer",
    "ProducerClosed": "delivery",
    "PublishError": "delivery",
    "QueueFull": "delivery",
    "Reject": "loop",
    "TraceContext": "context",
    "attach": "context",
    "bind": "context",
    "current": "context",
    "detach": "context",
    "extract": "context",
    "inject": "context",
}

__all__ = [
    "AsyncConsumer",
    "AsyncEventStore",
    "AsyncEventStreamingService",
    "AsyncProducer",
    "BatchFailed",
    "Consumer",
    "ConsumerFailed",
    "DeadLetterFailed",
    "Delivery",
    "DeliveryFailed",
    "Event",
    "EventFilter",
    "EventStore",
    "EventStreamingService",
    "EventType",
    "HeaderNames",
    "InvalidEvent",
    "Level",
    "LogHandler",
    "Producer",
    "ProducerClosed",
    "PublishError",
    "QueueFull",
    "Reject",
    "TraceContext",
    "attach",
    "bind",
    "current",
    "detach",
    "extract",
    "inject",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
