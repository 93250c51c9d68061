"""The interface of the pipeline before ingestd: keys and any JSON, no events. For programs that move over step by step.

What was `publish(key, value)` and `consume(handler)` there is so here, with the promises of the new client: nothing is
reported as published that Kafka has not acknowledged, and nothing is committed that was not handled.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as KafkaProducer

from ingestd._fastpath import UNREADABLE
from ingestd.client.events import UNWRITABLE
from ingestd.client.filters import fault_name
from ingestd.client.intake import LOG, SLICE_S, Letter, joined
from ingestd.client.loop import BlockingConsumer
from ingestd.errors import IngestdError
from ingestd.model import Fault
from ingestd.unreadable import why_unreadable

PUBLISH_TIMEOUT_S: Final = 30.0
_ENCODE = msgspec.json.Encoder().encode

# key (None: the record has none), value
Handler = Callable[[str | None, Any], object]


class PublishFailed(IngestdError):
    """Kafka did not take the message. The text says why."""


class Producer:
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
        options = {
            "bootstrap.servers": joined(brokers),
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "message.timeout.ms": max(1, round(timeout_s * 1000)),
            # As the Java and Go clients place a key, so that a symbol stays in its partition.
            "partitioner": "murmur2_random",
        }
        self._producer = KafkaProducer(options | dict(kafka_options or {}), logger=LOG)

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _as_json(value: Any) -> bytes:
    try:
        return _ENCODE(value)
    except UNWRITABLE as error:
        raise TypeError(f"the value can't be written as JSON: {error}") from error


class _JsonDecoder:
    """Key and value of each message; what is no JSON is a dead letter."""

    def decode(self, messages: Sequence[Message]) -> list[tuple[str | None, Any] | Letter | None]:
        return [self._read(message) for message in messages]

    def _read(self, message: Message) -> tuple[str | None, Any] | Letter:
        key, value = message.key(), message.value()
        if value is None:
            return Letter(message, "decode", "tombstone", "the record has no value")
        try:
            name = key.decode() if key is not None else None
        except UnicodeDecodeError:
            return Letter(message, "decode", fault_name(Fault.INVALID_UTF8), "the key is not valid UTF-8")
        try:
            return name, msgspec.json.decode(value)
        except UNREADABLE as error:
            fault, reason = why_unreadable(value, error)
            return Letter(message, "decode", fault_name(fault or Fault.NOT_JSON), reason)


class Consumer(BlockingConsumer[tuple[str | None, Any]]):
    """Gives each message to a handler as `handler(key, value)`, the value decoded; see `ingestd.client.Consumer` for
    retries, dead letters, commits and options."""

    def consume(self, handler: Handler) -> None:
        """Every message, until `stop`."""
        self._loop.run(_JsonDecoder(), lambda pair: handler(*pair))
