"""A shop of three services that publish what they do. Orders in; their events to Kafka, and what must be found, out.

Each service runs on threads of its own and knows of the others only what stands in the headers of a request, as over
HTTP. Nothing here knows Kafka, Redis or the daemon beyond `ingestd.client`.
"""

import time
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec

from ingestd.client import EventStreamingService, Level, bind
from ingestd.config.schema import Config

Headers = MutableMapping[str, str]
# One order in so many is refused.
REFUSED_EVERY = 5


class CardRefused(Exception):
    """The bank said no."""


class Order(NamedTuple):
    """What was asked, and what must be found of it."""

    correlation_id: str
    trace_id: str
    refused: bool


class Service:
    """One program: its name, its threads, its connection to the events."""

    def __init__(self, name: str, config: Config) -> None:
        streaming = msgspec.structs.replace(config.observability.event_streaming, service_name=name)
        observability = msgspec.structs.replace(config.observability, event_streaming=streaming)
        self.events = EventStreamingService(msgspec.structs.replace(config, observability=observability))
        self._threads = ThreadPoolExecutor(2, thread_name_prefix=name)

    def call(self, handler: Callable[[], None], headers: Headers) -> None:
        """A request that has come in: its headers say to which trace and correlation the work belongs."""

        def handle() -> None:
            with bind(self.events.extract(headers)):
                handler()

        self._threads.submit(handle).result()

    def close(self) -> None:
        self._threads.shutdown()
        self.events.close()


class Shop:
    """`place_order` goes through all three services."""

    def __init__(self, config: Config) -> None:
        self.gateway = Service("gateway", config)
        self.checkout = Service("checkout", config)
        self.payments = Service("payments", config)

    def place_order(self, number: int) -> Order:
        """Where a request begins, its correlation id is made; the trace begins with the first span."""
        refused = number % REFUSED_EVERY == REFUSED_EVERY - 1
        order_id = f"order-{number}"
        events = self.gateway.events
        with bind(correlation_id=order_id), events.trace("POST /orders", {"env": "prod"}) as span:
            events.publish_log_event("info", "api", "request accepted", labels={"env": "prod"})
            try:
                self.checkout.call(lambda: self._check_out(number, refused), events.inject({}))
            except CardRefused:
                span.labels["answer"] = "402"
            events.publish_metric_event("api", "orders_in_progress", number % 3)
        return Order(order_id, span.trace_id, refused)

    def _check_out(self, number: int, refused: bool) -> None:
        events = self.checkout.events
        with events.trace("place order"):
            events.publish_log_event("debug", "cart", f"cart of order {number}: 3 items, 2 vouchers tried")
            with events.trace("reserve stock"):
                time.sleep(0.002)
            self.payments.call(lambda: self._charge(number, refused), events.inject({}))
            events.publish_log_event("info", "cart", "order placed", metadata={"items": 3})

    def _charge(self, number: int, refused: bool) -> None:
        events = self.payments.events
        with events.trace("charge card"):
            time.sleep(0.04)  # the bank: the longest span also on a machine that is busy
            if refused:
                # An error keeps its type and its stack trace.
                error = CardRefused("the bank refused the card")
                events.producer.publish_error("cards", error, labels={"bank": "first"})
                events.publish_alert_event(f"refusal-{number}", "CardRefused", "a card was refused", Level.ERROR)
                raise error
            events.publish_log_event("info", "cards", "card charged", labels={"bank": "first"})

    def close(self) -> None:
        """Waits until every event is acknowledged."""
        for service in (self.gateway, self.checkout, self.payments):
            service.close()
