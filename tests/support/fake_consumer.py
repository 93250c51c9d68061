"""A consumer that answers when and as it is told to, and keeps librdkafka's rules about assignments."""

import os
from collections.abc import Callable

from ingestd._fastpath import Batch
from ingestd._librdkafka import (
    CommitResult,
    ErrorCode,
    KafkaNotice,
    PartitionOffset,
    Rebalance,
    RecordError,
    TopicDescription,
)
from ingestd.errors import KafkaFailure
from ingestd.pipeline.ledger import Key

TIMED_OUT, INVALID_ARG, CONFLICT = ErrorCode.TIMED_OUT, ErrorCode.INVALID_ARG, -173


class FakeConsumer:
    """`owes` is the event that the group waits for an answer to; `calls` is what was done to the assignment, in order.

    `FakeConsumer(a0=(5, 9))`: partition 0 of topic `a` has the records 5 to 8. Other logs begin at 0 and end at 1000.
    """

    data_fd = control_fd = main_fd = -1
    rebalance_protocol = "COOPERATIVE"

    def __init__(self, **logs: tuple[int, int]) -> None:
        self.topics: list[str] = []
        self.calls: list[tuple[str, object]] = []
        self.closed = False
        self.on_close: list[Rebalance | CommitResult] = []
        self.assignment: dict[Key, int] = {}
        self.owes = ""
        self.events: list[Rebalance | CommitResult | KafkaNotice] = []
        self.notices: list[KafkaNotice] = []
        self.record_errors: list[RecordError] = []
        self.group_offsets: dict[Key, PartitionOffset] = {}
        self.limits: dict[Key, tuple[int, int]] = {(name[:-1], int(name[-1])): ends for name, ends in logs.items()}
        # question -> error of every partition in its answer; partition -> its error in every answer of list_offsets
        self.errors: dict[str | Key, int] = {}
        self.watermarks: dict[Key, int] = {}  # the ends that fetch replies have told
        self.silent = False
        self.ids: dict[str, str] = {}
        self.stored: list[tuple] = []
        self.commits: list[tuple] = []
        self.assigns: list[list[tuple[str, int, int]]] = []
        self.questions: list[str] = []
        self.on_question: Callable[[str], None] = lambda question: None

    def open_descriptors(self) -> None:
        self.data_fd, self.control_fd, self.main_fd = (os.eventfd(0, os.EFD_NONBLOCK) for _ in range(3))

    def close_descriptors(self) -> None:
        for descriptor in (self.data_fd, self.control_fd, self.main_fd):
            os.close(descriptor)

    def subscribe(self, topics: list[str]) -> None:
        self.calls.append(("subscribe", list(topics)))

    def has_committed(self, key: Key, offset: int, metadata: bytes = b"") -> None:
        self.group_offsets[key] = PartitionOffset(*key, offset, metadata=metadata)

    def say(self, *events: Rebalance | CommitResult) -> None:
        self.events += events
        os.eventfd_write(self.control_fd, 1)

    # The group

    def rebalance(self, kind: str, *keys: Key, lost: bool = False) -> None:
        """The group decides: the member owes an answer."""
        self.owes = kind
        self.say(Rebalance(kind, list(keys), lost))

    def poll_control(self) -> list[Rebalance | CommitResult | KafkaNotice]:
        events, self.events = self.events, []
        return events

    def poll_main(self) -> list[KafkaNotice]:
        notices, self.notices = self.notices, []
        return notices

    def assign(self, rows: list[tuple[str, int, int]], *, incremental: bool) -> None:
        if not incremental:
            self.assignment = {}
        for topic, partition, _ in rows:
            if (topic, partition) in self.assignment:
                raise KafkaFailure(CONFLICT, "_CONFLICT", f"{topic}-{partition} is assigned already")
        self.assignment |= {(topic, partition): offset for topic, partition, offset in rows}
        self.assigns.append(list(rows))
        self.calls.append(("assign", sorted(rows)))
        if self.owes == "assign":
            self.owes = ""

    def unassign(self, keys: list[Key], *, incremental: bool) -> None:
        self.calls.append(("unassign", sorted(keys)))
        self.closed = bool(self.on_close)
        for key in keys:
            if key not in self.assignment:
                raise KafkaFailure(INVALID_ARG, "_INVALID_ARG", f"{key} is not in the current assignment")
        self.assignment = {k: v for k, v in self.assignment.items() if incremental and k not in keys}
        if self.owes == "revoke":
            self.owes = ""

    # Questions, on a helper thread

    def close(self) -> None:
        """Its last words come first; then the answer to the revoke among them closes it."""
        self.calls.append(("close", None))
        self.closed = not self.on_close
        if self.on_close:
            self.say(*self.on_close)

    def _answer(self, question: str, key: Key, offset: int) -> PartitionOffset:
        error = self.errors.get(question, 0) or self.errors.get(key, 0)
        return PartitionOffset(*key, -1 if error else offset, error=error)

    def _ask(self, question: str) -> None:
        self.questions.append(question)
        self.on_question(question)
        if self.silent:
            raise KafkaFailure(TIMED_OUT, "_TIMED_OUT", "nobody answers")

    def committed(self, keys: list[Key], timeout_ms: int) -> list[PartitionOffset]:
        self._ask("committed")
        found = [self.group_offsets.get(key, PartitionOffset(*key, -1001)) for key in keys]
        if error := self.errors.get("committed", 0):
            return [row._replace(offset=-1001, error=error) for row in found]
        return found

    def list_offsets(self, rows: list[tuple[str, int, int]], timeout_ms: int) -> list[PartitionOffset]:
        self._ask("list_offsets")
        limits = [((topic, p), self.limits.get((topic, p), (0, 1000)), which) for topic, p, which in rows]
        return [self._answer("list_offsets", key, ends[0 if which == -2 else 1]) for key, ends, which in limits]

    def describe_topics(self, topics: list[str], timeout_ms: int) -> dict[str, TopicDescription]:
        self._ask("describe_topics")
        error = self.errors.get("describe_topics", 0)
        return {topic: TopicDescription(self.ids.get(topic, ""), 0 if error else 4, error) for topic in topics}

    # Taking and storing

    def take(self, batch: Batch, records_max: int) -> list[RecordError]:
        errors, self.record_errors = self.record_errors, []
        return errors

    def positions(self, keys: list[Key]) -> list[PartitionOffset]:
        return [PartitionOffset(*key, -1001) for key in keys]

    def cached_watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        return -1001, self.watermarks.get((topic, partition), -1001)

    def store(self, rows: list[tuple]) -> list[PartitionOffset]:
        self.stored += rows
        return []

    def commit(self, rows: list[tuple]) -> None:
        self.commits += rows
