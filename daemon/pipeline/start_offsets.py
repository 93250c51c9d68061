"""Where an assigned partition is read from: at the group's commit, else by kafka.auto_offset_reset.

Non-obvious: an answer may have an error for one partition beside good offsets for others, and its offset is then -1.
librdkafka takes -1 for the end of a log: used as a start it would skip everything before. So each row is looked at, and
what the cluster did not answer is a KafkaFailure.
"""

from typing import NamedTuple

from .._librdkafka import ErrorCode, PartitionOffset, error_name
from ..errors import KafkaFailure
from .cluster_queries import ClusterQueries
from .ledger import Key

BEGINNING, END = -2, -1
TOPIC_ID_METADATA = b"topic_id="


class Start(NamedTuple):
    """Where one partition is read from.

    topic_id: the id that the commit was made under; "": none is known. missing_offset: the committed offset that the
    log does not have any more; -1: it has it, or there was none.
    """

    offset: int
    was_committed: bool
    topic_id: str = ""
    missing_offset: int = -1


class StartOffsets:
    """Runs on: the loop. Nothing is remembered: each call asks the cluster."""

    def __init__(self, *, queries: ClusterQueries, auto_offset_reset: str) -> None:
        self._queries = queries
        self._auto_offset_reset = auto_offset_reset

    async def starts(self, keys: list[Key]) -> dict[Key, Start]:
        """Where each is read from. Raises KafkaFailure."""
        committed = _without_errors(await self._queries.committed(keys))
        log_starts, log_ends = await self._limits(keys, BEGINNING), await self._limits(keys, END)
        known = await self._known_topics(committed)
        starts = {}
        for row in committed:
            key = (row.topic, row.partition)
            if row.offset >= 0 and (log_starts[key].error or log_ends[key].error):
                # One partition without a leader must not keep the others. Was the offset deleted, its fetch says so.
                starts[key] = _at_commit(row)
            else:
                begin, end = _without_errors([log_starts[key], log_ends[key]])
                starts[key] = self._start(row, begin.offset, end.offset, row.topic in known)
        return starts

    async def log_starts(self, keys: list[Key]) -> dict[Key, int]:
        """The first offset of each log. Raises KafkaFailure."""
        rows = await self._limits(keys, BEGINNING)
        return {(row.topic, row.partition): row.offset for row in _without_errors(list(rows.values()))}

    async def _limits(self, keys: list[Key], which: int) -> dict[Key, PartitionOffset]:
        """A row for each, some of them with an error."""
        rows = await self._queries.list_offsets([(*key, which) for key in keys])
        found = {key: PartitionOffset(*key, -1, error=ErrorCode.UNKNOWN_PARTITION) for key in keys}
        return found | {(row.topic, row.partition): row for row in rows if row.error or row.offset >= 0}

    async def _known_topics(self, committed: list[PartitionOffset]) -> set[str]:
        """Topics of which the group has a commit. A new partition of such a topic starts at its beginning."""
        known = {row.topic for row in committed if row.offset >= 0}
        unknown = {row.topic for row in committed} - known
        if self._auto_offset_reset == "earliest" or not unknown:
            return known
        described = await self._queries.describe_topics(sorted(unknown))
        for topic in unknown:
            if described[topic].error:
                raise _failure(described[topic].error, f"the cluster did not answer for {topic}")
        others = [(topic, p) for topic in unknown for p in range(described[topic].partition_count)]
        rows = _without_errors(await self._queries.committed(others)) if others else []
        return known | {row.topic for row in rows if row.offset >= 0}

    def _start(self, committed: PartitionOffset, begin: int, end: int, topic_known: bool) -> Start:
        if committed.offset < 0:
            from_start = topic_known or self._auto_offset_reset == "earliest"
            return Start(begin if from_start else end, False)
        if not begin <= committed.offset <= end:
            return Start(begin, True, missing_offset=committed.offset)
        return _at_commit(committed)


def _at_commit(committed: PartitionOffset) -> Start:
    if not committed.metadata.startswith(TOPIC_ID_METADATA):
        return Start(committed.offset, True)
    return Start(committed.offset, True, committed.metadata.removeprefix(TOPIC_ID_METADATA).decode("ascii", "replace"))


def _without_errors(rows: list[PartitionOffset]) -> list[PartitionOffset]:
    """The rows, when none of them has an error."""
    for row in rows:
        if row.error:
            raise _failure(row.error, f"the cluster did not answer for {row.topic}-{row.partition}")
    return rows


def _failure(code: int, text: str) -> KafkaFailure:
    return KafkaFailure(code, error_name(code), text)
