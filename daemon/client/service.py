"""EventStreamingService: traces, correlated events and look-ups for one service, configured by config.yaml.

`EventStreamingService` is for threads, `AsyncEventStreamingService` for asyncio; both have the same methods.
"""

import os
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Unpack

from ..config.kafka_connection import service_connection_options
from ..config.loading import load
from ..config.schema import Config
from .closing import AsyncClosing, Closing
from .context import AnyHeaders, HeaderNames, HeadersT, TraceContext
from .context import extract as extract_ids
from .context import inject as inject_ids
from .events import Event, Level
from .producing.async_producer import AsyncProducer
from .producing.delivery import Delivery, DeliveryFuture
from .producing.options import ProducerOptions
from .producing.producer import Core, Producer
from .producing.publishing import Labels, Metadata
from .spans import TraceBlock, Tracer

if TYPE_CHECKING:
    from .lookup.store import AsyncEventStore, EventStore  # pyright: ignore[reportMissingImports]
    from .lookup.trace_tree import TraceTree  # pyright: ignore[reportMissingImports]

AnyConfig = Config | str | os.PathLike[str]


class _Base:
    """What both services share: everything that neither waits nor talks to Redis."""

    _core: Core

    def __init__(self, config: AnyConfig, redis: Any) -> None:
        self.config = config if isinstance(config, Config) else load(os.fspath(config))
        self._redis = self.config.redis if redis is None else redis
        streaming = self.config.observability.event_streaming
        self.header_names = HeaderNames(
            streaming.correlation_id_header, streaming.trace_id_header, streaming.span_id_header
        )

    def _producer_arguments(self, options: ProducerOptions) -> tuple[tuple[str, ...], str, str, ProducerOptions]:
        kafka = self.config.kafka
        service = self.config.observability.event_streaming.service_name
        options = {
            "header_names": self.header_names,
            **options,
            "librdkafka": service_connection_options(kafka) | dict(options.get("librdkafka", {})),
        }
        return kafka.brokers, kafka.topics.observability_events, service, options

    def _begin(self, core: Core) -> None:
        self._core = core
        self._tracer = Tracer(core, self.config.observability.event_streaming.trace_sampling_rate)

    @property
    def lost_count(self) -> int:
        """Trace events for which there was no room in the producer's queue."""
        return self._tracer.lost_count

    def samples(self, trace_id: str) -> bool:
        """Whether a trace with this id is kept at `trace_sampling_rate`; docs/sampling.md says how that is decided."""
        return self._tracer.samples(trace_id)

    def trace(self, operation: str, labels: Labels = None, metadata: Metadata = None) -> TraceBlock:
        """`with service.trace("charge card") as span:` (or `async with`): a span around the block.

        What is published inside carries its trace and span id, and spans that begin inside are its children. What is
        put into `span.labels` and `span.metadata` stands in the span's last event. An exception makes that event's
        level error, with `metadata.error` and `.error_type`, and goes on.
        """
        return TraceBlock(self._tracer, operation, labels, metadata)

    def inject(self, headers: HeadersT) -> HeadersT:
        """Write the current ids into the headers of a request or a record, under the configured names; see `inject`."""
        return inject_ids(headers, self.header_names)

    def extract(self, headers: AnyHeaders | None) -> TraceContext:
        """The ids in the headers of a request or a record; give them to `bind`. See `extract`."""
        return extract_ids(headers, self.header_names)

    def _start_trace(self, operation: str, labels: Labels, metadata: Metadata) -> tuple[str, str]:
        span = self._tracer.begin(operation, labels, metadata)
        self._tracer.remember(span)
        return span.trace_id, span.span_id

    def _end_trace(
        self, trace_id: str, span_id: str, error: BaseException | str | None, labels: Labels, metadata: Metadata
    ) -> None:
        span = self._tracer.recall(trace_id, span_id)
        span.labels |= dict(labels or {})
        span.metadata |= dict(metadata or {})
        self._tracer.end(span, error)


class EventStreamingService(_Base, Closing):
    """Traces, correlated events and look-ups for one service, for threads.

        with EventStreamingService("config.yaml", "redis://localhost:6379/0") as service:
            with bind(correlation_id=order_id), service.trace("place order", {"env": "prod"}):
                service.publish_log_event("info", "api", "order accepted")

    config: the daemon's config.yaml by its path, or a `Config`. It gives the brokers with their security, the topic
    (`kafka.topics.observability_events`), the service, the headers and `trace_sampling_rate`. redis: what `EventStore`
    takes, or None for the `redis` section of the config, with its sentinels; it is dialled at the first look-up.
    options: see ProducerOptions.
    """

    def __init__(self, config: AnyConfig, redis: Any = None, **options: Unpack[ProducerOptions]) -> None:
        super().__init__(config, redis)
        self._store: EventStore | None = None
        brokers, topic, service, settled = self._producer_arguments(options)
        self.producer = Producer(brokers, topic, service, **settled)
        self._begin(self.producer.core)

    def start_trace(self, operation: str, labels: Labels = None, metadata: Metadata = None) -> tuple[str, str]:
        """Begin a span: the first of a new trace, or a child of the current one. Ends with `end_trace`.

        Returns (trace id, span id): 32 and 16 lower-case hex digits; a trace that came from elsewhere keeps its id as
        it is. The running code is in the span from now on. Never waits for Kafka.
        """
        return self._start_trace(operation, labels, metadata)

    def end_trace(
        self,
        trace_id: str,
        span_id: str,
        error: BaseException | str | None = None,
        labels: Labels = None,
        metadata: Metadata = None,
    ) -> None:
        """End a span of `start_trace`, from any thread. Labels and metadata are added to those of its beginning.

        Raises UnknownSpan (a KeyError). Never waits for Kafka: a trace event for which there is no room is counted in
        `lost_count` and said in the log.
        """
        self._end_trace(trace_id, span_id, error, labels, metadata)

    def publish_log_event(
        self,
        level: Level | str,
        component: str,
        message: str,
        correlation_id: str | None = None,
        labels: Labels = None,
        metadata: Metadata = None,
    ) -> DeliveryFuture:
        """Producer.publish_log with a correlation id; None means that of the running code."""
        return self.producer.publish_log(level, component, message, labels, metadata, correlation_id=correlation_id)

    def publish_metric_event(
        self,
        component: str,
        name: str,
        value: float,
        correlation_id: str | None = None,
        labels: Labels = None,
        metadata: Metadata = None,
    ) -> DeliveryFuture:
        """Producer.publish_metric with a correlation id; None means that of the running code."""
        return self.producer.publish_metric(component, name, value, labels, metadata, correlation_id=correlation_id)

    def publish_alert_event(
        self,
        alert_id: str,
        alert_name: str,
        message: str,
        level: Level | str = Level.WARNING,
        correlation_id: str | None = None,
        labels: Labels = None,
        metadata: Metadata = None,
    ) -> DeliveryFuture:
        """Producer.publish_alert with a correlation id; None means that of the running code."""
        return self.producer.publish_alert(
            alert_id, alert_name, message, level, labels, metadata, correlation_id=correlation_id
        )

    def get_correlated_events(self, correlation_id: str) -> list[Event]:
        """All events with this correlation id, in time order; empty when there are none. See EventStore."""
        found: list[Event] = self._look_up().correlated(correlation_id)
        return found

    def get_trace(self, trace_id: str) -> "TraceTree":
        """One trace as a tree; a false one when nothing of it is found. See EventStore."""
        return self._look_up().trace(trace_id)

    def _look_up(self) -> "EventStore":
        # Not before: who only publishes needs no redis-py.
        if self._store is None:
            from .lookup.store import EventStore  # pyright: ignore[reportMissingImports]

            self._store = EventStore(self._redis)
        return self._store

    def flush(self, timeout_s: float = 30.0) -> int:
        """As Producer.flush."""
        return self.producer.flush(timeout_s)

    def close(self, timeout_s: float | None = None) -> None:
        """Close the producer, as Producer.close, and the connections to Redis that were made here."""
        try:
            self.producer.close(timeout_s)
        finally:
            if self._store is not None:
                self._store.close()


class AsyncEventStreamingService(_Base, AsyncClosing):
    """EventStreamingService for asyncio: the same methods, to be awaited. redis: what `AsyncEventStore` takes."""

    def __init__(self, config: AnyConfig, redis: Any = None, **options: Unpack[ProducerOptions]) -> None:
        super().__init__(config, redis)
        self._store: AsyncEventStore | None = None
        brokers, topic, service, settled = self._producer_arguments(options)
        self.producer = AsyncProducer(brokers, topic, service, **settled)
        self._begin(self.producer.core)

    async def start_trace(self, operation: str, labels: Labels = None, metadata: Metadata = None) -> tuple[str, str]:
        """As EventStreamingService.start_trace, for the task that awaits it."""
        return self._start_trace(operation, labels, metadata)

    async def end_trace(
        self,
        trace_id: str,
        span_id: str,
        error: BaseException | str | None = None,
        labels: Labels = None,
        metadata: Metadata = None,
    ) -> None:
        """As EventStreamingService.end_trace, from any task."""
        self._end_trace(trace_id, span_id, error, labels, metadata)

    def publish_log_event(
        self,
        level: Level | str,
        component: str,
        message: str,
        correlation_id: str | None = None,
        labels: Labels = None,
        metadata: Metadata = None,
    ) -> Coroutine[Any, Any, Delivery]:
        """AsyncProducer.publish_log with a correlation id; None means that of the running code."""
        return self.producer.publish_log(level, component, message, labels, metadata, correlation_id=correlation_id)

    def publish_metric_event(
        self,
        component: str,
        name: str,
        value: float,
        correlation_id: str | None = None,
        labels: Labels = None,
        metadata: Metadata = None,
    ) -> Coroutine[Any, Any, Delivery]:
        """AsyncProducer.publish_metric with a correlation id; None means that of the running code."""
        return self.producer.publish_metric(component, name, value, labels, metadata, correlation_id=correlation_id)

    def publish_alert_event(
        self,
        alert_id: str,
        alert_name: str,
        message: str,
        level: Level | str = Level.WARNING,
        correlation_id: str | None = None,
        labels: Labels = None,
        metadata: Metadata = None,
    ) -> Coroutine[Any, Any, Delivery]:
        """AsyncProducer.publish_alert with a correlation id; None means that of the running code."""
        return self.producer.publish_alert(
            alert_id, alert_name, message, level, labels, metadata, correlation_id=correlation_id
        )

    async def get_correlated_events(self, correlation_id: str) -> list[Event]:
        """As EventStreamingService.get_correlated_events."""
        found: list[Event] = await self._look_up().correlated(correlation_id)
        return found

    async def get_trace(self, trace_id: str) -> "TraceTree":
        """As EventStreamingService.get_trace."""
        return await self._look_up().trace(trace_id)

    def _look_up(self) -> "AsyncEventStore":
        # Not before: who only publishes needs no redis-py.
        if self._store is None:
            from .lookup.store import AsyncEventStore  # pyright: ignore[reportMissingImports]

            self._store = AsyncEventStore(self._redis)
        return self._store

    async def flush(self, timeout_s: float = 30.0) -> int:
        """As AsyncProducer.flush."""
        return await self.producer.flush(timeout_s)

    async def close(self, timeout_s: float | None = None) -> None:
        """Close the producer, as AsyncProducer.close, and the connections to Redis that were made here."""
        try:
            await self.producer.close(timeout_s)
        finally:
            if self._store is not None:
                await self._store.aclose()
