"""Where partitions are read from. Partitions in; offsets out, or a KafkaFailure when the cluster told not all of them.

An answer may have an error for one partition beside good offsets for others. Its offset is then -1, which librdkafka
takes for the end of a log: used as a start it would skip everything before.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from .._librdkafka import Consumer, ErrorCode, PartitionOffset, error_name
from ..errors import KafkaFailure
from .ledger import Key

BEGINNING, END = -2, -1
TOPIC_ID_METADATA = b"topic_id="


class Start(NamedTuple):
    """Where one partition is read from.

    topic_id: the id that the commit was made under; "": none is known. gone_from: the committed offset that the log
    does not have any more; -1: it has it, or there was none.
    """

    offset: int
    was_committed: bool
    topic_id: str = ""
    gone_from: int = -1


class StartOffsets:
    """Runs on: the loop. `ask(question, subject)` runs a question to the cluster on a helper thread."""

    def __init__(self, consumer: Consumer, auto_offset_reset: str, ask: Callable[..., Awaitable]) -> None:
        self._consumer = consumer
        self._auto_offset_reset = auto_offset_reset
        self._ask = ask

    async def starts(self, keys: list[Key]) -> dict[Key, Start]:
        """Where to begin: at the commit, or where there is none by kafka.auto_offset_reset. Raises KafkaFailure."""
        committed = _told(await self._ask(self._consumer.committed, keys))
        begins, ends = await self._limits(keys, BEGINNING), await self._limits(keys, END)
        known = await self._known_topics(committed)
        starts = {}
        for row in committed:
            key = (row.topic, row.partition)
            if row.offset >= 0 and (begins[key].error or ends[key].error):
                # One partition without a leader must not keep the others. If this offset is gone, its fetch says so.
                starts[key] = _at_commit(row)
            else:
                begin, end = _told([begins[key], ends[key]])
                starts[key] = self._start(row, begin.offset, end.offset, row.topic in known)
        return starts

    async def log_starts(self, keys: list[Key]) -> dict[Key, int]:
        """The first offset of each log. Raises KafkaFailure."""
        rows = await self._limits(keys, BEGINNING)
        return {(row.topic, row.partition): row.offset for row in _told(list(rows.values()))}

    async def _limits(self, keys: list[Key], which: int) -> dict[Key, PartitionOffset]:
        """A row for each, some of them with an error."""
        rows = await self._ask(self._consumer.list_offsets, [(*key, which) for key in keys])
        found = {key: PartitionOffset(*key, -1, error=ErrorCode.UNKNOWN_PARTITION) for key in keys}
        return found | {(row.topic, row.partition): row for row in rows if row.error or row.offset >= 0}

    async def _known_topics(self, committed: list[PartitionOffset]) -> set[str]:
        """Topics of which the group has a commit. A new partition of such a topic starts at its beginning."""
        known = {row.topic for row in committed if row.offset >= 0}
        unknown = {row.topic for row in committed} - known
        if self._auto_offset_reset == "earliest" or not unknown:
            return known
        described = await self._ask(self._consumer.describe_topics, sorted(unknown))
        for topic in unknown:
            if described[topic].error:
                raise _failure(described[topic].error, f"the partitions of {topic} are not told")
        others = [(topic, p) for topic in unknown for p in range(described[topic].partition_count)]
        rows = _told(await self._ask(self._consumer.committed, others)) if others else []
        return known | {row.topic for row in rows if row.offset >= 0}

    def _start(self, committed: PartitionOffset, begin: int, end: int, topic_known: bool) -> Start:
        if committed.offset < 0:
            from_start = topic_known or self._auto_offset_reset == "earliest"
            return Start(begin if from_start else end, False)
        if not begin <= committed.offset <= end:
            return Start(begin, True, gone_from=committed.offset)
        return _at_commit(committed)


def _at_commit(committed: PartitionOffset) -> Start:
    if not committed.metadata.startswith(TOPIC_ID_METADATA):
        return Start(committed.offset, True)
    return Start(committed.offset, True, committed.metadata.removeprefix(TOPIC_ID_METADATA).decode("ascii", "replace"))


def _told(rows: list[PartitionOffset]) -> list[PartitionOffset]:
    """The rows, when none of them has an error."""
    for row in rows:
        if row.error:
            raise _failure(row.error, f"nothing is told of {row.topic}-{row.partition}")
    return rows


def _failure(code: int, text: str) -> KafkaFailure:
    return KafkaFailure(code, error_name(code), text)
