"""For other people's programs: publish, read and look up observability events.

The names below are loaded when they are first used, so that importing this costs nothing. Publishing and consuming need
what `pip install ingestd` brings, confluent-kafka and msgspec; looking up needs `ingestd[lookup]`, and a service that
reads its config from a file `ingestd[config]`.

Threads of its own, each begun when it is first needed:

    ingestd-delivery     one a producer: brings librdkafka's reports to futures and callbacks
    ingestd-consumer     one an AsyncConsumer: the calls of Kafka that wait
    ingestd-close        one a consumer, at its end: leaving the group may take its time
    asyncio's executor   flush and close of an AsyncProducer

librdkafka's threads beside them run no Python. What several threads share is behind these locks. Only under the last
one may others be taken, by a log handler of the program that publishes: so no two threads wait for each other.

    SharedProducer._opening      which sender takes the next event, and whether there will be one
    SharedProducer._using        flush, purge and destroy of a sender: one at a time
    SharedProducer._room         threads that wait for room in a full queue
    BatchReports._counting       the reports of one batch
    _Waiting.condition           one future that somebody waits for
    delivery._making_condition   the making of that
    LogHandler._counting         dropped records
    GroupMember._using           confluent-kafka's consumer, and whether it is closed

A child of a fork begins with new ones, as another thread of its parent may have held them. It makes its own consumers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# For type checkers and editors: the same names as in _MODULES, which a test holds to be so.
if TYPE_CHECKING:
    from .consuming.async_consumer import AsyncConsumer as AsyncConsumer
    from .consuming.consume_loop import Reject as Reject
    from .consuming.consumer import Consumer as Consumer
    from .consuming.dead_letters import DeadLetterFailed as DeadLetterFailed
    from .consuming.filters import EventFilter as EventFilter
    from .consuming.group_member import ConsumerFailed as ConsumerFailed
    from .context import HeaderNames as HeaderNames
    from .context import TraceContext as TraceContext
    from .context import attach as attach
    from .context import bind as bind
    from .context import current as current
    from .context import detach as detach
    from .context import extract as extract
    from .context import inject as inject
    from .events import Event as Event
    from .events import EventType as EventType
    from .events import InvalidEvent as InvalidEvent
    from .events import Level as Level
    from .lookup.store import AsyncEventStore as AsyncEventStore
    from .lookup.store import EventStore as EventStore
    from .producing.async_producer import AsyncProducer as AsyncProducer
    from .producing.delivery import BatchFailed as BatchFailed
    from .producing.delivery import Delivery as Delivery
    from .producing.delivery import DeliveryFailed as DeliveryFailed
    from .producing.delivery import ProducerClosed as ProducerClosed
    from .producing.delivery import PublishError as PublishError
    from .producing.delivery import QueueFull as QueueFull
    from .producing.log_handler import LogHandler as LogHandler
    from .producing.producer import Producer as Producer
    from .service import AsyncEventStreamingService as AsyncEventStreamingService
    from .service import EventStreamingService as EventStreamingService

_MODULES = {
    "AsyncConsumer": "consuming.async_consumer",
    "AsyncEventStore": "lookup.store",
    "AsyncEventStreamingService": "service",
    "AsyncProducer": "producing.async_producer",
    "BatchFailed": "producing.delivery",
    "Consumer": "consuming.consumer",
    "ConsumerFailed": "consuming.group_member",
    "DeadLetterFailed": "consuming.dead_letters",
    "Delivery": "producing.delivery",
    "DeliveryFailed": "producing.delivery",
    "Event": "events",
    "EventFilter": "consuming.filters",
    "EventStore": "lookup.store",
    "EventStreamingService": "service",
    "EventType": "events",
    "HeaderNames": "context",
    "InvalidEvent": "events",
    "Level": "events",
    "LogHandler": "producing.log_handler",
    "Producer": "producing.producer",
    "ProducerClosed": "producing.delivery",
    "PublishError": "producing.delivery",
    "QueueFull": "producing.delivery",
    "Reject": "consuming.consume_loop",
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
