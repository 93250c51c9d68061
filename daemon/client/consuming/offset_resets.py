"""Where a consumer reads a partition from: its commit, else `auto_offset_reset`; what was deleted unread is counted.

librdkafka runs with `auto.offset.reset=error`: it stops a partition whose position is not in its log, and says so.
With `earliest` it would pass over what was deleted without a word, with `latest` over the whole log.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, Message, TopicPartition

from ...backoff import delay_s
from ...rate_limited_log import RateLimitedLog

# One question to the cluster. While it waits nobody looks whether the consumer is to stop, nor can it be closed.
ASK_TIMEOUT_S: Final = 2.0
NO_POSITION: Final = -1
Key = tuple[str, int]


class OffsetResets:
    """Starts partitions when they are assigned, and starts those again that librdkafka has stopped.

    Runs on: the thread that consumes; `missed_count` is read on any.

    is_eager: the group gives its members whole assignments only.
    """

    def __init__(
        self, auto_offset_reset: str, is_eager: bool, log: logging.Logger, limited_log: RateLimitedLog
    ) -> None:
        self.missed_count = 0
        self._from_start = auto_offset_reset == "earliest"
        self._is_eager = is_eager
        self._log = log
        self._limited_log = limited_log
        self._random = Random()
        # Partitions that librdkafka has stopped: at an offset that their log does not have, or at NO_POSITION.
        self._stopped: dict[Key, int] = {}
        self._attempt = 0
        self._again_s = 0.0

    def assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Answer an assignment: each partition at its commit; where there is none, as `auto_offset_reset` says."""
        for row in partitions:
            self._stopped.pop(_key(row), None)
        starts, fresh = partitions, []
        if partitions:
            try:
                starts = consumer.committed(partitions, timeout=ASK_TIMEOUT_S)
                fresh = self._fresh(consumer, [_key(row) for row in starts if row.error is None and row.offset < 0])
            except KafkaException as error:
                # librdkafka asks by itself then, and says which of them have no commit: `restart` goes on with those.
                self._warn(error)
        chosen = {_key(row): row for row in fresh}
        starts = [chosen.get(_key(row), row) for row in starts]
        if self._is_eager:
            consumer.assign(starts)
        else:
            consumer.incremental_assign(starts)
        self._commit(consumer, fresh)

    def note(self, stopped: Message) -> None:
        """A partition stopped, as its position is not in the log, or there is none."""
        offset = stopped.offset()
        self._stopped[stopped.topic() or "", stopped.partition() or 0] = NO_POSITION if offset is None else offset

    def restart(self, consumer: Consumer) -> None:
        """Let the stopped partitions go on. What was taken before must have ended. Asks again at a later call when the
        cluster does not answer."""
        if not self._stopped or time.monotonic() < self._again_s:
            return
        owned = {_key(row) for row in consumer.assignment()}
        self._stopped = {key: offset for key, offset in self._stopped.items() if key in owned}
        deleted = [key for key, offset in self._stopped.items() if offset >= 0]
        # Of these librdkafka could not find out the place. A commit that is not in the log comes again, as deleted.
        unplaced = [TopicPartition(*key) for key, offset in self._stopped.items() if offset < 0]
        try:
            found = _without_errors(consumer.committed(unplaced, timeout=ASK_TIMEOUT_S)) if unplaced else []
            fresh = self._fresh(consumer, [_key(row) for row in found if row.offset < 0])
            starts = _log_ends(consumer, deleted, OFFSET_BEGINNING)
            self._move(consumer, [*(row for row in found if row.offset >= 0), *fresh, *starts])
        except KafkaException as error:
            self._warn(error)
            self._again_s = time.monotonic() + delay_s(self._attempt, self._random)
            self._attempt += 1
            return
        for row in starts:
            self._report_missed(row, self._stopped[_key(row)])
        self._stopped, self._attempt = {}, 0
        self._again_s = time.monotonic() + delay_s(0, self._random)  # the next ones go on together
        self._commit(consumer, [*fresh, *starts])

    def _fresh(self, consumer: Consumer, keys: Sequence[Key]) -> list[TopicPartition]:
        """Where to start partitions of which the group has committed nothing."""
        if self._from_start:
            return [TopicPartition(*key, OFFSET_BEGINNING) for key in keys]
        return _log_ends(consumer, keys, OFFSET_END)

    def _move(self, consumer: Consumer, rows: list[TopicPartition]) -> None:
        """Stopped partitions, to other places."""
        # Non-obvious: librdkafka seeks only in a partition that it reads. One that it has stopped, as its position is
        # not in the log, is unassigned and assigned; with an eager protocol all are, the others where the program
        # stands.
        if self._is_eager:
            moved = {_key(row) for row in rows}
            others = [row for row in consumer.assignment() if _key(row) not in moved]
            consumer.assign([*rows, *(consumer.position(others) if others else [])])
        else:
            consumer.incremental_unassign(rows)
            consumer.incremental_assign(rows)

    def _commit(self, consumer: Consumer, starts: Iterable[TopicPartition]) -> None:
        """Starts that were chosen here, at once."""
        # Non-obvious: `auto_offset_reset: latest` commits the end that it chose before anything is read. Else a crash
        # before the first commit would choose it again, and skip what had come in between.
        # So is the start of a log that lacks what was committed: librdkafka commits a stored offset only above that.
        rows = [row for row in starts if row.offset >= 0]
        if not rows:
            return
        try:
            consumer.commit(offsets=rows, asynchronous=True)
            consumer.store_offsets(offsets=rows)  # unlike a commit, librdkafka tries it again
        except KafkaException as error:
            name = error.args[0].name()
            self._limited_log.say(
                logging.WARNING, "an offset could not be stored for the next commit", name, error=name
            )

    def _report_missed(self, start: TopicPartition, position: int) -> None:
        missed_count = max(0, start.offset - position)
        self.missed_count += missed_count
        self._log.warning(
            "records were deleted before they were read, reading goes on at the log's start",
            extra={
                "topic": start.topic,
                "partition": start.partition,
                "position": position,
                "log_start": start.offset,
                "missed": missed_count,
                "reason": "they were deleted" if missed_count else "the topic was recreated or truncated",
            },
        )

    def _warn(self, error: KafkaException) -> None:
        name = error.args[0].name()
        self._limited_log.say(logging.WARNING, "cannot determine start offsets", name, error=name)


def _key(row: TopicPartition) -> Key:
    return row.topic, row.partition


def _without_errors(rows: list[TopicPartition]) -> list[TopicPartition]:
    """The rows, when none of them has an error."""
    for row in rows:
        if row.error is not None:
            raise KafkaException(row.error)
    return rows


def _log_ends(consumer: Consumer, keys: Sequence[Key], end: int) -> list[TopicPartition]:
    """One end of each log, which Kafka takes for a time: one request a broker, where watermarks are two a partition."""
    if not keys:
        return []
    rows = _without_errors(
        consumer.offsets_for_times([TopicPartition(*key, end) for key in keys], timeout=ASK_TIMEOUT_S)
    )
    assert all(row.offset >= 0 for row in rows), "as a start it would be the end of the log"
    return rows
