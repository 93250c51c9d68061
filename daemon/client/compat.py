"""Compatibility with programs of the pipeline before ingestd: `publish(key, value)` and `consume(handler)`, any JSON.

They keep their calls and move over step by step, with the promises of the new client: nothing is reported as published
that Kafka has not acknowledged, and nothing is committed that was not handled.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as KafkaProducer

from .._fastpath import UNREADABLE
from ..config.kafka_connection import servers_text
from ..config.kafka_producers import client_message_producer_options
from ..errors import IngestdError
from ..events.unreadable import why_unreadable
from ..events.vocabulary import Fault
from .closing import Closing
from .consuming.blocking_consumer import BlockingConsumer
from .consuming.dead_letters import DeadLetter
from .consuming.filters import fault_name
from .consuming.options import SLICE_S
from .events import UNWRITABLE
from .log import LOG

PUBLISH_TIMEOUT_S: Final = 30.0
_ENCODE = msgspec.json.Encoder().encode

# key (None: the record has none), value
Handler = Callable[[str | None, Any], object]


class PublishFailed(IngestdError):
    """Kafka did not take the message. The text says why."""


class Producer(Closing):
    """Publishes any JSON under a key. Runs on: any thread.

    timeout_s: how long a message may take until Kafka has acknowledged it. kafka_options: more options for librdkafka.
    """

    def __init__(
        self,
        brokers: str | Sequence[str],
        topic: str,
        *,
        timeout_s: float = PUBLISH_TIMEOUT_S,
        kafka_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._topic = topic
        self._timeout_s = timeout_s
        options = client_message_producer_options(servers_text(brokers), timeout_s, kafka_options or {})
        self._producer = KafkaProducer(options, logger=LOG)

    def publish(self, key: str | bytes | None, value: Any) -> None:
        """Publish, and wait until Kafka has acknowledged it. `value`: bytes go as they are, the rest as JSON.

        Raises PublishFailed, and TypeError for what JSON can't hold.
        """
        payload = bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else _as_json(value)
        reported = threading.Event()
        errors: list[KafkaError] = []

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                errors.append(error)
            reported.set()

        try:
            self._producer.produce(self._topic, payload, key, on_delivery=on_delivery)
        except (KafkaException, BufferError) as error:
            raise PublishFailed(str(error)) from error
        slices = int((self._timeout_s + 2.0) / SLICE_S) + 1
        for _ in range(slices):
            # Another thread's poll may serve our report.
            self._producer.poll(0 if reported.is_set() else SLICE_S)
            if reported.is_set():
                break
        else:
            raise PublishFailed(f"no report within {self._timeout_s} s")
        if errors:
            raise PublishFailed(f"{errors[0].name()}: {errors[0].str()}")

    def close(self) -> None:
        """Nothing is under way any more when `publish` has returned."""
        self._producer.flush(self._timeout_s)


def _as_json(value: Any) -> bytes:
    try:
        return _ENCODE(value)
    except UNWRITABLE as error:
        raise TypeError(f"the value can't be written as JSON: {error}") from error


class _JsonDecoder:
    """Key and value of each message; what is not JSON is a dead letter."""

    def decode(self, messages: Sequence[Message]) -> list[tuple[str | None, Any] | DeadLetter | None]:
        return [self._read(message) for message in messages]

    def _read(self, message: Message) -> tuple[str | None, Any] | DeadLetter:
        key, value = message.key(), message.value()
        if value is None:
            return DeadLetter(message, "decode", "tombstone", "the record has no value")
        try:
            name = key.decode() if key is not None else None
        except UnicodeDecodeError:
            return DeadLetter(message, "decode", fault_name(Fault.INVALID_UTF8), "the key is not valid UTF-8")
        try:
            return name, msgspec.json.decode(value)
        except UNREADABLE as error:
            fault, reason = why_unreadable(value, error)
            return DeadLetter(message, "decode", fault_name(fault or Fault.NOT_JSON), reason)


class Consumer(BlockingConsumer[tuple[str | None, Any]]):
    """Gives each message to a handler as `handler(key, value)`, the value decoded; see `ingestd.client.Consumer` for
    retries, dead letters, commits and options."""

    def consume(self, handler: Handler) -> None:
        """Every message, until `stop`."""
        self._consume(_JsonDecoder(), lambda pair: handler(*pair))
