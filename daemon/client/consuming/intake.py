"""The Kafka side of a consumer. Records in; their offsets stored when they have ended, dead letters acknowledged, out.

Nothing here knows handlers. What is stored is committed by librdkafka every `commit_interval_s`, when partitions are
given back, and at the end. Every wait has a bound.
"""

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal, NamedTuple, TypedDict

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from ...backoff import delay_s
from ...config.kafka_connection import servers_text
from ...config.kafka_consumers import client_consumer_options, ensure_client_consumer_options
from ...config.kafka_producers import DEAD_LETTER_TIMEOUT_S, client_dead_letter_options
from ...errors import IngestdError
from ...events.vocabulary import DEAD_LETTER_HEADER_PREFIX
from ...rate_limited_log import RateLimitedLog
from .start_offsets import Beginnings

LOG: Final = logging.getLogger("ingestd.client")
# How long one question to librdkafka may keep the thread from looking whether it is to stop.
SLICE_S: Final = 0.2
# A batch is made so small that its handlers take about this long: while they run, a rebalance of the group waits.
BATCH_TARGET_S: Final = 1.0
FIRST_BATCH: Final = 16
# Of a dead letter that the broker refuses for its size this much is kept, and of an error's text that.
STUB_BYTES: Final = 65536
REASON_CHARACTERS_MAX: Final = 2000
HOPELESS: Final = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,
)
Place = tuple[str, int, int]


class ConsumerFailed(IngestdError):
    """Kafka refuses for good: no right to the topic or the group, or a fatal error of the client."""


class DeadLetterFailed(IngestdError):
    """A dead letter was not acknowledged in `dead_letter_timeout_s`. Its event is not committed, and comes again."""


class Stopped(Exception):
    """Inside the consumers only: `stop` was called while something was waited for."""


class Options(TypedDict, total=False):
    """The keyword options of every consumer; their meaning and defaults are in `Settings`."""

    dead_letter_topic: str
    retries: int
    retry_first_s: float
    retry_max_s: float
    retry_on: tuple[type[BaseException], ...]
    auto_offset_reset: Literal["earliest", "latest"]
    batch_events_max: int
    commit_interval_s: float
    close_timeout_s: float
    dead_letter_timeout_s: float
    idle_stop_s: float | None
    correlation_id_header: str
    kafka_options: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a consumer behaves.

    dead_letter_topic: where events go that can't be read, and those whose handler failed for the last time.
    retries: how often a handler is called again after it raised; between them `retry_first_s`, doubling up to
    `retry_max_s`. retry_on: the exceptions that count as failures of the event; others end the consumer.
    auto_offset_reset: where a partition begins of which the group has committed nothing. Where its commit is not in the
    log any more, it goes on at the log's start, and what was missed is counted and said.
    idle_stop_s: end when nothing has come for so long since the group took us in; None: never.
    kafka_options: more options for librdkafka.
    """

    dead_letter_topic: str = "observability.dead_letter"
    retries: int = 5
    retry_first_s: float = 0.1
    retry_max_s: float = 5.0
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    auto_offset_reset: Literal["earliest", "latest"] = "earliest"
    batch_events_max: int = 500
    commit_interval_s: float = 1.0
    close_timeout_s: float = 10.0
    dead_letter_timeout_s: float = 60.0
    idle_stop_s: float | None = None
    correlation_id_header: str = "X-Correlation-ID"
    kafka_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ensure_client_consumer_options(self.kafka_options)
        if self.batch_events_max < 1 or self.retries < 0:
            raise ValueError("batch_events_max must be at least 1, retries at least 0")

    @property
    def correlation_headers(self) -> list[str]:
        return [self.correlation_id_header, "correlation_id"]


class Letter(NamedTuple):
    """A record that goes to the dead letters, and why."""

    message: Message
    stage: str
    fault: str
    reason: str


def place_of(message: Message) -> Place:
    return message.topic() or "", message.partition() or 0, message.offset() or 0


def header_pairs(message: Message) -> list[tuple[str, str | bytes | None]]:
    """The headers in their order; a name may stand more than once."""
    headers = message.headers()
    if not headers:
        return []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return [(str(name), value) for name, value in pairs]


def is_eager(options: Mapping[str, Any]) -> bool:
    """Whether members give everything back at each rebalance: so with `range` and `roundrobin`."""
    return options.get("group.protocol") != "consumer" and "cooperative" not in options["partition.assignment.strategy"]


class Intake:
    """One member of a group. Runs on: the thread that consumes; `close` on any.

    `left` are the records that were taken and have not ended, oldest first.
    """

    def __init__(
        self, brokers: str | Sequence[str], topics: str | Sequence[str], group_id: str, settings: Settings
    ) -> None:
        self.settings = settings
        self.left: deque[Message] = deque()
        self._passed: dict[tuple[str, int], Message] = {}
        self._buried: set[Place] = set()
        self._records_max = min(FIRST_BATCH, settings.batch_events_max)
        self._random = Random()
        self._limited_log = RateLimitedLog(LOG, 10.0, time.monotonic)
        self._lock = threading.Lock()
        self.closed = False
        self.joined = False
        self._graves = Graves(servers_text(brokers), settings, self._limited_log)
        subscribed = [topics] if isinstance(topics, str) else list(topics)
        if settings.dead_letter_topic in subscribed:
            raise ValueError(f"{settings.dead_letter_topic} is read, and its dead letters would go round for ever")
        options = {"error_cb": self._on_error} | client_consumer_options(
            servers_text(brokers), group_id, settings.commit_interval_s, settings.kafka_options
        )
        self._beginnings = Beginnings(settings.auto_offset_reset, is_eager(options), LOG, self._limited_log)
        self._consumer = Consumer(options, logger=LOG)
        self._consumer.subscribe(subscribed, on_assign=self._on_assign)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._beginnings.assign(consumer, partitions)
        self.joined = True  # an empty assignment counts

    def _on_error(self, error: KafkaError) -> None:
        self._limited_log.say(
            logging.WARNING, "kafka client error", error.name(), error=error.name(), reason=error.str()
        )

    @property
    def missed_count(self) -> int:
        return self._beginnings.missed_count

    def fetch(self) -> None:
        """Fill `left`, when it is empty, with what has come; waits SLICE_S for the first record."""
        if self.left:
            return
        self._buried.clear()
        with self._lock:
            if self.closed:
                return
            self._beginnings.settle(self._consumer)
            first = self._consumer.poll(SLICE_S)
            if first is None:
                return
            found = [first]
            if self._records_max > 1:
                # `consume` alone would wait its whole time-out to fill the list.
                found += self._consumer.consume(self._records_max - 1, 0)
        self.left.extend(message for message in found if self._is_record(message))

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.fatal() or error.code() in HOPELESS:
            raise ConsumerFailed(f"{error.name()}: {error.str()}")
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._beginnings.note(message)
            return False
        self._limited_log.say(
            logging.WARNING,
            "kafka reports an error",
            (error.name(), message.topic()),
            error=error.name(),
            topic=message.topic(),
            reason=error.str(),
        )
        return False

    def pace(self, records: int, seconds: float) -> None:
        """After a batch: make the next one take about BATCH_TARGET_S, growing by steps."""
        wanted = int(BATCH_TARGET_S * records / max(seconds, 1e-6))
        self._records_max = max(1, min(wanted, 4 * self._records_max, self.settings.batch_events_max))

    def pass_first(self) -> None:
        """The oldest record has ended. `store` tells librdkafka."""
        message = self.left.popleft()
        topic, partition, _ = place_of(message)
        self._passed[topic, partition] = message

    def store(self) -> None:
        """Everything that has ended may be committed."""
        passed, self._passed = self._passed, {}
        with self._lock:
            if self.closed:
                return
            for message in passed.values():
                try:
                    self._consumer.store_offsets(message=message)
                except KafkaException as error:
                    # The partition went to another member, who will see the event again.
                    name = error.args[0].name()
                    self._limited_log.say(logging.WARNING, "an offset could not be stored", name, error=name)

    def bury(self, letters: Sequence[Letter], is_stopping: Callable[[], bool]) -> None:
        """Dead letters, acknowledged. Raises DeadLetterFailed or Stopped. Each record of `left` once."""
        waiting = [letter for letter in letters if place_of(letter.message) not in self._buried]
        deadline_s = time.monotonic() + self.settings.dead_letter_timeout_s
        attempt = 0
        while waiting:
            failed, why = self._graves.put(waiting, deadline_s)
            self._buried |= {place_of(letter.message) for letter in waiting if letter not in failed}
            waiting = failed
            if not waiting:
                return
            if is_stopping():
                raise Stopped
            if time.monotonic() > deadline_s:
                raise DeadLetterFailed(f"{len(waiting)} dead letters for {self.settings.dead_letter_topic}: {why}")
            time.sleep(delay_s(attempt, self._random, max_s=1.0))
            attempt += 1

    def close(self) -> None:
        """Commit what is stored and leave the group, at most `close_timeout_s`."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
        # With no broker there librdkafka may take its time.
        thread = threading.Thread(target=self._consumer.close, name="ingestd-close", daemon=True)
        thread.start()
        thread.join(self.settings.close_timeout_s)
        if thread.is_alive():
            LOG.warning("the group did not let go in time", extra={"waited_s": self.settings.close_timeout_s})


class Graves:
    """The dead-letter topic. The producer is made for the first letter."""

    def __init__(self, brokers: str, settings: Settings, limited_log: RateLimitedLog) -> None:
        self._brokers = brokers
        self._settings = settings
        self._limited_log = limited_log
        self._producer: Producer | None = None
        self._host = socket.gethostname()

    def _make(self) -> Producer:
        options = client_dead_letter_options(self._brokers, self._settings.kafka_options)
        return Producer(options, logger=LOG)

    def put(self, letters: Sequence[Letter], deadline_s: float) -> tuple[list[Letter], str]:
        """Produce and wait; gives those that were not acknowledged, and why the last was not."""
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
            # What may still be under way would come twice; and a client that failed for good is made anew.
            producer.purge(blocking=False)
            self._producer = None
        return [letters[index] for index in failed], why

    def _produce(
        self, producer: Producer, letter: Letter, index: int, errors: dict[int, KafkaError | None], stub: bool
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


def error_headers(letter: Letter, host: str) -> list[tuple[str, str | bytes | None]]:
    """Where the record came from and why it is a dead letter, as the daemon writes it (design 6.2)."""
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
