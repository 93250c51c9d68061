"""One member of a consumer group: takes records from Kafka, and stores the offsets of those that have ended.

Nothing here knows handlers. What is stored is committed by librdkafka every `commit_interval_s`, when partitions are
given back, and at the end. Every wait has a bound.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ...config.kafka_connection import servers_text
from ...config.kafka_consumers import client_consumer_options
from ...errors import IngestdError
from ...rate_limited_log import RateLimitedLog
from ..log import LOG
from .dead_letters import DeadLetter, DeadLetterTopic
from .messages import Place, place_of
from .offset_resets import OffsetResets
from .options import SLICE_S, ConsumerSettings

# A batch is made so small that its handlers take about this long: while they run, a rebalance of the group waits.
BATCH_TARGET_S: Final = 1.0
FIRST_BATCH: Final = 16
# Errors that no later try will mend.
PERMANENT: Final = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,
)


class ConsumerFailed(IngestdError):
    """Kafka refuses for good: no right to the topic or the group, or a fatal error of the client."""


def is_eager(options: Mapping[str, Any]) -> bool:
    """Whether members give everything back at each rebalance: so with `range` and `roundrobin`."""
    return options.get("group.protocol") != "consumer" and "cooperative" not in options["partition.assignment.strategy"]


class GroupMember:
    """Owns confluent-kafka's consumer. Runs on: the thread that consumes; `close` on any.

    `left` are the records that were taken and have not ended, oldest first.
    """

    def __init__(
        self, brokers: str | Sequence[str], topics: str | Sequence[str], group_id: str, settings: ConsumerSettings
    ) -> None:
        self.settings = settings
        self.left: deque[Message] = deque()
        self._ended: dict[tuple[str, int], Message] = {}
        self._dead_lettered: set[Place] = set()
        self._records_max = min(FIRST_BATCH, settings.batch_events_max)
        self._limited_log = RateLimitedLog(LOG, 10.0, time.monotonic)
        # Guards `closed`, and every use of `_consumer` but its `close`: it may not be asked once it is being closed.
        # Taken by the thread that consumes, for each fetch and each store, and by whoever closes.
        self._using = threading.Lock()
        self.closed = False
        self.joined = False
        self._dead_letters = DeadLetterTopic(servers_text(brokers), settings, self._limited_log)
        subscribed = [topics] if isinstance(topics, str) else list(topics)
        if settings.dead_letter_topic in subscribed:
            raise ValueError(f"{settings.dead_letter_topic} is read, and its dead letters would go round for ever")
        options = {"error_cb": self._on_error} | client_consumer_options(
            servers_text(brokers), group_id, settings.commit_interval_s, settings.kafka_options
        )
        self._offset_resets = OffsetResets(settings.auto_offset_reset, is_eager(options), LOG, self._limited_log)
        self._consumer = Consumer(options, logger=LOG)
        self._consumer.subscribe(subscribed, on_assign=self._on_assign)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._offset_resets.assign(consumer, partitions)
        self.joined = True  # an empty assignment counts

    def _on_error(self, error: KafkaError) -> None:
        self._limited_log.say(
            logging.WARNING, "kafka client error", error.name(), error=error.name(), reason=error.str()
        )

    @property
    def missed_count(self) -> int:
        """Records that were deleted from Kafka before they were read here. Runs on: any thread."""
        return self._offset_resets.missed_count

    def fetch(self) -> None:
        """Fill `left`, when it is empty, with what has come; waits SLICE_S for the first record."""
        if self.left:
            return
        self._dead_lettered.clear()
        with self._using:
            if self.closed:
                return
            self._offset_resets.restart(self._consumer)
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
        if error.fatal() or error.code() in PERMANENT:
            raise ConsumerFailed(f"{error.name()}: {error.str()}")
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._offset_resets.note(message)
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

    def end_first(self) -> None:
        """The oldest record has ended. `store` gives librdkafka its offset."""
        message = self.left.popleft()
        topic, partition, _ = place_of(message)
        self._ended[topic, partition] = message

    def store(self) -> None:
        """Everything that has ended may be committed."""
        if not self._ended:
            return  # and no wait for a fetch that still runs, for a call that was cancelled
        ended, self._ended = self._ended, {}
        with self._using:
            if self.closed:
                return
            for message in ended.values():
                try:
                    self._consumer.store_offsets(message=message)
                except KafkaException as error:
                    # The partition went to another member, who will see the event again.
                    name = error.args[0].name()
                    self._limited_log.say(
                        logging.WARNING, "an offset could not be stored for the next commit", name, error=name
                    )

    def without_published(self, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Those that `publish_dead_letters` has not seen acknowledged: each record of `left` becomes one once."""
        return [letter for letter in letters if place_of(letter.message) not in self._dead_lettered]

    def publish_dead_letters(self, letters: Sequence[DeadLetter], deadline_s: float) -> str:
        """One try. Why the last of those that were not acknowledged was not, or nothing."""
        failed, why = self._dead_letters.publish(letters, deadline_s)
        self._dead_lettered |= {place_of(letter.message) for letter in letters if letter not in failed}
        return why

    def close(self) -> None:
        """Commit what is stored and leave the group, at most `close_timeout_s`."""
        with self._using:
            if self.closed:
                return
            self.closed = True
        # With no broker there librdkafka may take its time.
        thread = threading.Thread(target=self._consumer.close, name="ingestd-close", daemon=True)
        thread.start()
        thread.join(self.settings.close_timeout_s)
        if thread.is_alive():
            LOG.warning(
                "the consumer could not leave its group in time", extra={"waited_s": self.settings.close_timeout_s}
            )
