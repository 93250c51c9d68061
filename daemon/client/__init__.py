"""For other people's programs: publish, read and look up observability events.

The names below are loaded when they are first used, so that importing this costs nothing, and so that a program which
publishes needs neither Redis nor the daemon's compiled rooms.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# For type checkers and editors: the same names as in _MODULES, which a test holds to be so.
if TYPE_CHECKING:
    from ingestd.client.async_consumer import AsyncConsumer as AsyncConsumer
    from ingestd.client.async_producer import AsyncProducer as AsyncProducer
    from ingestd.client.consumer import Consumer as Consumer
    from ingestd.client.context import HeaderNames as HeaderNames
    from ingestd.client.context import TraceContext as TraceContext
    from ingestd.client.context import attach as attach
    from ingestd.client.context import bind as bind
    from ingestd.client.context import current as current
    from ingestd.client.context import detach as detach
    from ingestd.client.context import extract as extract
    from ingestd.client.context import inject as inject
    from ingestd.client.delivery import BatchFailed as BatchFailed
    from ingestd.client.delivery import Delivery as Delivery
    from ingestd.client.delivery import DeliveryFailed as DeliveryFailed
    from ingestd.client.delivery import ProducerClosed as ProducerClosed
    from ingestd.client.delivery import PublishError as PublishError
    from ingestd.client.delivery import QueueFull as QueueFull
    from ingestd.client.events import Event as Event
    from ingestd.client.events import EventType as EventType
    from ingestd.client.events import InvalidEvent as InvalidEvent
    from ingestd.client.events import Level as Level
    from ingestd.client.filters import EventFilter as EventFilter
    from ingestd.client.intake import ConsumerFailed as ConsumerFailed
    from ingestd.client.intake import DeadLetterFailed as DeadLetterFailed
    from ingestd.client.log_handler import LogHandler as LogHandler
    from ingestd.client.loop import Reject as Reject
    from ingestd.client.producer import Producer as Producer
    from ingestd.client.service import AsyncEventStreamingService as AsyncEventStreamingService
    from ingestd.client.service import EventStreamingService as EventStreamingService
    from ingestd.client.store import AsyncEventStore as AsyncEventStore
    from ingestd.client.store import EventStore as EventStore

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
