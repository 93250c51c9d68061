"""Which partitions are read here: assigning, giving back and starting again at a log's start, all without waiting.

Consumer and ledger change together: what librdkafka reads is what the ledger waits for, in the same generation.
"""

from collections.abc import Container, Iterable, Mapping

from .._librdkafka import Consumer
from ..telemetry.happenings import ABANDONED, ASSIGNED, MISSED, Happening
from ..telemetry.metrics import Books
from ..telemetry.runtime import Runtime
from .ledger import Key, Ledger
from .start_offsets import Start
from .topic_ids import TopicIds


class Assignment:
    """Runs on: the loop. `committed`: what the group has of each partition, -1 for nothing."""

    def __init__(
        self, *, consumer: Consumer, ledger: Ledger, books: Books, topic_ids: TopicIds, runtime: Runtime
    ) -> None:
        self._consumer = consumer
        self._ledger = ledger
        self._books = books
        self._topic_ids = topic_ids
        self._happenings = runtime.happenings
        self.committed: dict[Key, int] = {}
        self.abandoned = 0  # events that had not reached their end when their partition was given back
        self.missed = 0  # records that were deleted before they were read

    @property
    def is_incremental(self) -> bool:
        """Whether the group changes single partitions, and not always all of them (the eager protocol)."""
        return self._consumer.rebalance_protocol == "COOPERATIVE"

    def assign(
        self, keys: list[Key], starts: Mapping[Key, Start], *, incremental: bool, never_commit: Container[str]
    ) -> None:
        """Read these partitions from their starts. never_commit: topics whose start must not be committed."""
        self._consumer.assign([(*key, starts[key].offset) for key in keys], incremental=incremental)
        for key, start in starts.items():
            self._ledger.assign(*key, start.offset)
            self.committed[key] = start.offset if start.was_committed else -1
            if start.missing_offset >= 0:
                self._note_missed(*key, start.missing_offset, start.offset)
                self._commit_starts([(key, start.offset)])
        self._happenings.note(ASSIGNED, "assigned", partitions=names(keys))
        fresh = [
            (*key, start.offset, -1, b"")
            for key, start in starts.items()
            if not start.was_committed and key[0] not in never_commit
        ]
        if fresh:
            # Non-obvious: the start of a partition without a commit is committed before its first record.
            # Else a crash or a rebalance before the first commit would choose the start again, and with `latest` skip
            # what was taken meanwhile. Stored as well, as librdkafka retries commits of stored offsets alone.
            self._consumer.commit(fresh)
            self._consumer.store(fresh)

    def forget(self, keys: list[Key], what: Happening, kind: str) -> None:
        """Results of these partitions that come later are of an older generation, and count for nobody."""
        abandoned_count = 0
        for key in keys:
            abandoned_count += self._abandon(*key)
            self.committed.pop(key, None)
        self._topic_ids.forget_unassigned()
        self._happenings.note(what, kind, partitions=names(keys), abandoned_events=abandoned_count)

    def restart(self, log_starts: dict[Key, int], topic_id: str) -> None:
        """Read partitions again from the start of their logs. topic_id: of their topic, when it was recreated."""
        others = [key for key in self._ledger.partitions() if key not in log_starts]
        for key, log_start in log_starts.items():
            self._note_missed(*key, self._ledger.next_offset(*key), log_start)
            self._abandon(*key)
        rows = [(*key, log_start) for key, log_start in log_starts.items()]
        if self.is_incremental:
            self._consumer.unassign(list(log_starts), incremental=True)
            self._consumer.assign(rows, incremental=True)
        else:
            # All of them stop and start; the others go on where they stand.
            positions = {(row.topic, row.partition): row.offset for row in self._consumer.positions(others)}
            rows += [(*key, max(positions[key], self._ledger.next_offset(*key))) for key in others]
            self._consumer.unassign([], incremental=False)
            self._consumer.assign(rows, incremental=False)
        if topic_id:
            self._topic_ids.replace((topic for topic, _ in log_starts), topic_id)
        for key, log_start in log_starts.items():
            self._ledger.assign(*key, log_start)
        self._commit_starts(log_starts.items())

    def _commit_starts(self, starts: Iterable[tuple[Key, int]]) -> None:
        """Of a log that lacks what was committed: librdkafka commits a stored offset only above its last commit."""
        self._consumer.commit([(*key, offset, -1, self._topic_ids.commit_metadata(key[0])) for key, offset in starts])

    def _abandon(self, topic: str, partition: int) -> int:
        """The generation ends; gives how many of its events had not reached their end."""
        count = self._ledger.revoke(topic, partition)
        self.abandoned += count
        if count:
            self._books.ended(topic, abandoned=count)
            self._happenings.note(ABANDONED, count=count, topic=topic, partition=partition)
        return count

    def _note_missed(self, topic: str, partition: int, position: int, log_start: int) -> None:
        missed_count = max(0, log_start - position)
        self.missed += missed_count
        self._happenings.note(
            MISSED,
            topic,
            count=missed_count,
            topic=topic,
            partition=partition,
            position=position,
            log_start=log_start,
            missed=missed_count,
            reason="they were deleted" if missed_count else "the topic was recreated or truncated",
        )


def names(keys: Iterable[Key]) -> list[str]:
    """As people and Kafka's tools write partitions."""
    return [f"{topic}-{partition}" for topic, partition in keys]
