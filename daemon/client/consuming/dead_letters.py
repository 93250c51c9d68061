"""Publishes what a consumer could not handle to the dead-letter topic, with the reason in headers, and waits for Kafka.

The headers are those that the daemon writes, `__ingestd.errors.*`: one program reads the dead letters of both.
"""

import logging
import socket
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ...config.kafka_producers import DEAD_LETTER_TIMEOUT_S, client_dead_letter_options
from ...errors import IngestdError
from ...events.vocabulary import DEAD_LETTER_HEADER_PREFIX
from ...rate_limited_log import RateLimitedLog
from ..log import LOG
from .messages import header_pairs, place_of
from .options import SLICE_S, ConsumerSettings

# Of a dead letter that the broker refuses for its size this much is kept, and of an error's text that.
STUB_BYTES: Final = 65536
REASON_CHARACTERS_MAX: Final = 2000


class DeadLetterFailed(IngestdError):
    """A dead letter was not acknowledged in `dead_letter_timeout_s`. Its event is not committed, and comes again."""


class DeadLetter(NamedTuple):
    """A record that goes to the dead letters, and why."""

    message: Message
    stage: str
    fault: str
    reason: str


class DeadLetterTopic:
    """The dead-letter topic. Its producer is made for the first letter.

    Runs on: the thread that consumes.
    """

    def __init__(self, brokers: str, settings: ConsumerSettings, limited_log: RateLimitedLog) -> None:
        self._brokers = brokers
        self._settings = settings
        self._limited_log = limited_log
        self._producer: Producer | None = None
        self._host = socket.gethostname()

    def _make(self) -> Producer:
        options = client_dead_letter_options(self._brokers, self._settings.kafka_options)
        return Producer(options, logger=LOG)

    def publish(self, letters: Sequence[DeadLetter], deadline_s: float) -> tuple[list[DeadLetter], str]:
        """One try: produce and wait. Gives those that were not acknowledged, and why the last was not."""
        producer = self._producer = self._producer or self._make()
        errors: dict[int, KafkaError | None] = {}
        for index, letter in enumerate(letters):
            self._produce(producer, letter, index, errors, stub=False)
        self._wait(producer, deadline_s)
        too_large = [
            index for index, error in errors.items() if error and error.code() == KafkaError.MSG_SIZE_TOO_LARGE
        ]
        for index in too_large:
            self._produce(producer, letters[index], index, errors, stub=True)
        if too_large:
            self._wait(producer, deadline_s)
        failed = [index for index in range(len(letters)) if errors.get(index, _NO_REPORT) is not None]
        why = ""
        for index in failed:
            error = errors.get(index)
            why = f"{error.name()}: {error.str()}" if error else "no report in time"
            self._limited_log.say(logging.WARNING, "a dead letter was not acknowledged", why, reason=why)
        if failed:
            # What may still be under way would come twice; and a client that failed for good is replaced.
            producer.purge(blocking=False)
            self._producer = None
        return [letters[index] for index in failed], why

    def _produce(
        self, producer: Producer, letter: DeadLetter, index: int, errors: dict[int, KafkaError | None], stub: bool
    ) -> None:
        def on_delivery(error: KafkaError | None, message: Message) -> None:
            errors[index] = error

        value = letter.message.value()
        size = len(value) if value is not None else 0
        headers = error_headers(letter, self._host) + ([(f"{_PREFIX}size", b"%d" % size)] if stub else [])
        own = [] if stub else header_pairs(letter.message)
        try:
            producer.produce(
                self._settings.dead_letter_topic,
                value[:STUB_BYTES] if stub and value is not None else value,
                letter.message.key(),
                headers=own + headers,
                on_delivery=on_delivery,
            )
        except BufferError:
            producer.poll(SLICE_S)  # it stays without a report, and is tried again
        except KafkaException as error:
            errors[index] = error.args[0]

    def _wait(self, producer: Producer, deadline_s: float) -> None:
        # In slices: Ctrl-C is heard between two calls.
        end_s = min(deadline_s, time.monotonic() + DEAD_LETTER_TIMEOUT_S + 1.0)
        while len(producer) and time.monotonic() < end_s:
            producer.flush(SLICE_S)


_PREFIX: Final = DEAD_LETTER_HEADER_PREFIX
_NO_REPORT: Final = KafkaError(KafkaError._TIMED_OUT)


def error_headers(letter: DeadLetter, host: str) -> list[tuple[str, str | bytes | None]]:
    """Where the record came from and why it is a dead letter, as the daemon writes it."""
    topic, partition, offset = place_of(letter.message)
    texts = {
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "timestamp": str(letter.message.timestamp()[1]),
        "stage": letter.stage,
        "class": letter.fault,
        "message": letter.reason[:REASON_CHARACTERS_MAX],
        "host": host,
    }
    return [(f"{_PREFIX}{name}", text.encode("utf-8", "replace")) for name, text in texts.items()]
