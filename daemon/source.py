"""The source: Kafka in. Assignments, revokes, taking and storing; control events in, a ledger kept true out.

The group's events are answered by one task, one after the other: an assignment with explicit offsets, a revoke only
after what was taken has been drained and stored. Everything that goes to the network runs on a helper thread.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import NamedTuple

from ingestd._fastpath import Batch
from ingestd._librdkafka import CommitResult, Consumer, KafkaNotice, PartitionOffset, Rebalance, RecordError
from ingestd.backoff import delay_s
from ingestd.errors import KafkaFailure
from ingestd.ledger import Key, Ledger
from ingestd.logs import Sparing
from ingestd.metrics import Books, Counters

AUTO_OFFSET_RESET = -140  # _AUTO_OFFSET_RESET: the position is not in the log
NO_OFFSET = -168  # _NO_OFFSET: there was nothing to commit
BEGINNING, END = -2, -1
NETWORK_TIMEOUT_MS = 5000
# Topic ids only guard against a topic that was made anew; a cluster that does not tell them must not delay a stop.
TOPIC_ID_TIMEOUT_MS = 1500
TOPIC_ID_INTERVAL_S = 10.0
# The control queue is served by its eventfd; this often also without, as max.poll.interval.ms counts calls.
TICK_S = 0.1
TOPIC_ID_METADATA = b"topic_id="


class Assigned(NamedTuple):
    """Where one partition is read from, and whether the group had committed an offset before."""

    offset: int
    was_committed: bool


class Source:
    """Runs on: the loop. `hold`, `resume` and `drained` are the engine's."""

    def __init__(
        self,
        consumer: Consumer,
        topics: list[str],
        auto_offset_reset: str,
        drain_timeout_s: float,
        ledger: Ledger,
        books: Books,
        counters: Counters,
        on_notice: Callable[[KafkaNotice], None],
        log: logging.Logger,
        random: Random,
    ) -> None:
        self._consumer = consumer
        self._topics = topics
        self._auto_offset_reset = auto_offset_reset
        self._drain_timeout_s = drain_timeout_s
        self._ledger = ledger
        self._books = books
        self._counters = counters
        self._on_notice = on_notice
        self._log = log
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._sparing = Sparing(log, 10.0, self._loop.time)
        # One thread: questions to the cluster follow each other, and a stop waits for one at most.
        self._network = ThreadPoolExecutor(1, thread_name_prefix="kafka-control")
        self._rebalances: asyncio.Queue[Rebalance] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._topic_ids: dict[str, str] = {}
        self.committed: dict[Key, int] = {}
        self.joined = False  # an assignment came, an empty one counts
        self.abandoned = 0
        self.missed = 0

    def connect(
        self,
        pump: Callable[[], None],
        hold: Callable[[], None],
        resume: Callable[[], None],
        drained: Callable[..., Awaitable[bool]],
    ) -> None:
        self._pump, self._hold, self._resume, self._drained = pump, hold, resume, drained

    def start(self) -> None:
        """Join the group."""
        consumer = self._consumer
        self._loop.add_reader(consumer.data_fd, self._wake, consumer.data_fd, self._pump)
        self._loop.add_reader(consumer.control_fd, self._wake, consumer.control_fd, self._serve_control)
        self._loop.add_reader(consumer.main_fd, self._wake, consumer.main_fd, self._serve_main)
        self._keep(self._answer_rebalances())
        self._keep(self._tick())
        self._keep(self._watch_topic_ids())
        consumer.subscribe(self._topics)

    def _keep(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._loop.call_exception_handler({"message": "the source failed", "exception": error})

    # Taking and storing

    def take(self, batch: Batch, records_max: int) -> bool:
        """Fill a batch. True when the queue may have more: its eventfd then says nothing."""
        errors = self._consumer.take(batch, records_max)
        for error in errors:
            self._on_record_error(error)
        return batch.record_count + len(errors) == records_max

    def topic(self, slot: int) -> str:
        """The name of a topic that a span names by number."""
        return self._consumer.topics[slot]

    def store(self) -> None:
        """Tell librdkafka what is finished; it commits that every commit_interval_ms and when partitions go."""
        idle = self._ledger.idle_partitions()
        if idle:
            for row in self._consumer.positions(idle):
                # Markers of transactions and compacted records: nobody will ever finish those.
                self._ledger.advance(row.topic, row.partition, row.offset)
        rows = [
            (row.topic, row.partition, row.next_offset, row.leader_epoch, self._metadata(row.topic))
            for row in self._ledger.take_storable()
        ]
        if rows:
            for refused in self._consumer.store(rows):
                self._sparing.say(
                    logging.WARNING,
                    "an offset could not be stored",
                    (refused.topic, refused.partition),
                    topic=refused.topic,
                    partition=refused.partition,
                    code=refused.error,
                )

    def _metadata(self, topic: str) -> bytes:
        known = self._topic_ids.get(topic)
        return TOPIC_ID_METADATA + known.encode() if known else b""

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._serve_control()
            self.store()
            self._pump()  # a wake-up that was missed must not stop the intake for ever

    # Events

    def _wake(self, descriptor: int, serve: Callable[[], None]) -> None:
        try:
            os.eventfd_read(descriptor)
        except BlockingIOError:
            pass  # served before by the tick
        serve()

    def _serve_main(self) -> None:
        self._serve(self._consumer.poll_main())

    def _serve_control(self) -> None:
        self._serve(self._consumer.poll_control())

    def _serve(self, events: list[Rebalance | CommitResult | KafkaNotice]) -> None:
        for event in events:
            match event:
                case Rebalance():
                    self._rebalances.put_nowait(event)
                case CommitResult():
                    self._on_commit(event)
                case KafkaNotice():
                    self._on_notice(event)

    def _on_commit(self, result: CommitResult) -> None:
        for row in result.partitions:
            if row.error == 0 and row.offset >= 0 and (row.topic, row.partition) in self.committed:
                self.committed[row.topic, row.partition] = row.offset
        if result.code not in (0, NO_OFFSET):
            self._counters.add("ingestd_errors_total", "commit", result.name)
            self._sparing.say(
                logging.WARNING, "a commit failed, librdkafka tries again", result.name, error=result.name
            )

    def _on_record_error(self, error: RecordError) -> None:
        if error.code == AUTO_OFFSET_RESET and error.partition >= 0:
            self._keep(self._restart_partition(error))
            return
        self._counters.add("ingestd_errors_total", "source", error.name)
        self._sparing.say(
            logging.WARNING,
            "kafka reports an error of the source",
            (error.name, error.topic),
            error=error.name,
            topic=error.topic,
            partition=error.partition,
            reason=error.text,
        )

    # Rebalances

    async def _answer_rebalances(self) -> None:
        while True:
            rebalance = await self._rebalances.get()
            incremental = self._consumer.rebalance_protocol == "COOPERATIVE"
            if rebalance.kind == "assign":
                await self._assign(rebalance.partitions, incremental)
            else:
                await self._revoke(rebalance, incremental)

    async def _assign(self, keys: list[Key], incremental: bool) -> None:
        starts = await self._starting_points(keys)
        if starts is None:
            return  # another event of the group has overtaken this one
        try:
            self._consumer.assign([(*key, starts[key].offset) for key in keys], incremental=incremental)
        except KafkaFailure as error:
            self._log.warning("an assignment was overtaken", extra={"error": error.name})
            return
        for key in keys:
            self._ledger.assign(*key, starts[key].offset)
            self.committed[key] = starts[key].offset if starts[key].was_committed else -1
        self.joined = True
        self._log.info("partitions assigned", extra={"partitions": [f"{t}-{p}" for t, p in keys]})
        fresh = [(*key, start.offset, -1, b"") for key, start in starts.items() if not start.was_committed]
        if fresh:
            # Committed at once: else a rebalance before the first record would choose the start anew.
            self._consumer.store(fresh)
        if keys:
            self._keep(self._compare_committed_ids({topic for topic, _ in keys}))
        self._pump()

    async def _ask(self, question: Callable[..., object], subject: object, timeout_ms: int = NETWORK_TIMEOUT_MS):
        return await self._loop.run_in_executor(self._network, question, subject, timeout_ms)

    async def _starting_points(self, keys: list[Key]) -> dict[Key, Assigned] | None:
        """Where each partition is read from. Asks until the cluster answers; None when the group has moved on."""
        attempt = 0
        while keys:
            try:
                committed = await self._ask(self._consumer.committed, keys)
                begins = await self._ask(self._consumer.list_offsets, [(*key, BEGINNING) for key in keys])
                ends = await self._ask(self._consumer.list_offsets, [(*key, END) for key in keys])
                known = await self._known_topics(committed)
                break
            except KafkaFailure as error:
                self._sparing.say(
                    logging.WARNING,
                    "the cluster does not say where to begin",
                    error.name,
                    error=error.name,
                    reason=str(error),
                )
                await asyncio.sleep(delay_s(attempt, self._random))
                attempt += 1
                if not self._rebalances.empty():
                    return None
        else:
            return {}
        low = {(row.topic, row.partition): row.offset for row in begins}
        high = {(row.topic, row.partition): row.offset for row in ends}
        return {
            (row.topic, row.partition): self._starting_point(
                row, low[row.topic, row.partition], high[row.topic, row.partition], row.topic in known
            )
            for row in committed
        }

    async def _known_topics(self, committed: list[PartitionOffset]) -> set[str]:
        """Topics of which the group has a commit. A new partition of such a topic starts at its beginning."""
        known = {row.topic for row in committed if row.offset >= 0}
        unknown = {row.topic for row in committed} - known
        if self._auto_offset_reset == "earliest" or not unknown:
            return known
        described = await self._ask(self._consumer.describe_topics, sorted(unknown))
        others = [(topic, p) for topic in unknown for p in range(described[topic].partition_count)]
        rows = await self._ask(self._consumer.committed, others) if others else []
        return known | {row.topic for row in rows if row.offset >= 0}

    def _starting_point(self, committed: PartitionOffset, begin: int, end: int, topic_known: bool) -> Assigned:
        if committed.offset < 0:
            from_start = topic_known or self._auto_offset_reset == "earliest"
            return Assigned(begin if from_start else end, False)
        if begin <= committed.offset <= end:
            return Assigned(committed.offset, True)
        self._note_missed(committed.topic, committed.partition, committed.offset, begin)
        return Assigned(begin, True)

    def _note_missed(self, topic: str, partition: int, position: int, begin: int) -> None:
        missed_count = max(0, begin - position)
        self.missed += missed_count
        self._counters.add("ingestd_records_missed_total", topic, count=missed_count)
        reason = "they were deleted" if missed_count else "the topic was made anew or cut"
        self._log.error(
            "records are gone from Kafka, reading goes on at the log's start",
            extra={
                "topic": topic,
                "partition": partition,
                "position": position,
                "log_start": begin,
                "missed": missed_count,
                "reason": reason,
            },
        )

    async def _revoke(self, rebalance: Rebalance, incremental: bool) -> None:
        keys = rebalance.partitions or (self._ledger.partitions() if not incremental else [])
        if rebalance.lost:
            # Others have them already: nothing may be stored, and what is in flight counts for nobody.
            self._fence(keys, "lost")
            self._unassign(keys, incremental)
            return
        self._hold()
        try:
            drained = await self._drained(keys, self._drain_timeout_s)
            self.store()
            self._fence(keys, "given back" if drained else "given back before they were drained")
            self._unassign(keys, incremental)
        finally:
            self._resume()

    def _fence(self, keys: list[Key], how: str) -> None:
        """Forget the partitions: late results of their generation are ignored from here on."""
        abandoned_count = 0
        for topic, partition in keys:
            count = self._ledger.revoke(topic, partition)
            self.committed.pop((topic, partition), None)
            abandoned_count += count
            if count:
                self._books.ended(topic, abandoned=count)
                self._counters.add("ingestd_events_abandoned_total", count=count)
        self.abandoned += abandoned_count
        level = logging.WARNING if abandoned_count else logging.INFO
        self._log.log(
            level,
            f"partitions {how}",
            extra={
                "partitions": [f"{topic}-{partition}" for topic, partition in keys],
                "abandoned_events": abandoned_count,
            },
        )

    def _unassign(self, keys: list[Key], incremental: bool) -> None:
        try:
            self._consumer.unassign(keys, incremental=incremental)
        except KafkaFailure as error:
            self._log.warning("a revoke was overtaken", extra={"error": error.name})

    async def ask_offsets(self, rows: list[tuple[str, int, int]]) -> list[PartitionOffset]:
        """The ends of logs as the broker has them. Raises KafkaFailure."""
        return await self._ask(self._consumer.list_offsets, rows)

    # What must not be skipped without a word

    async def _watch_topic_ids(self) -> None:
        """A topic that is deleted and made anew under us: the old position may be a valid one in the new log."""
        while True:
            await asyncio.sleep(TOPIC_ID_INTERVAL_S)
            for topic in await self._refresh_topic_ids({topic for topic, _ in self._ledger.partitions()}):
                for key in [key for key in self._ledger.partitions() if key[0] == topic]:
                    await self._restart_at_beginning(*key, self._ledger.next_offset(*key))

    async def _refresh_topic_ids(self, topics: set[str]) -> set[str]:
        """Ask for the ids of these topics; gives those whose id is another than before."""
        if not topics:
            return set()
        try:
            described = await self._ask(self._consumer.describe_topics, sorted(topics), TOPIC_ID_TIMEOUT_MS)
        except KafkaFailure as error:
            self._sparing.say(logging.DEBUG, "the cluster does not tell topic ids", error.name, error=error.name)
            return set()
        fresh = {name: topic.topic_id for name, topic in described.items() if topic.topic_id}
        changed = {name for name, topic_id in fresh.items() if self._topic_ids.get(name, topic_id) != topic_id}
        self._topic_ids |= fresh
        return changed

    async def _compare_committed_ids(self, topics: set[str]) -> None:
        """The same for what happened while nobody read: a commit carries the id of its topic."""
        await self._refresh_topic_ids(topics)
        keys = [key for key in self._ledger.partitions() if key[0] in topics]
        try:
            committed = await self._ask(self._consumer.committed, keys) if keys else []
        except KafkaFailure:
            return  # asked again at the next assignment
        for row in committed:
            stored_id = row.metadata.removeprefix(TOPIC_ID_METADATA).decode("ascii", "replace")
            if row.metadata.startswith(TOPIC_ID_METADATA) and stored_id != self._topic_ids.get(row.topic, stored_id):
                await self._restart_at_beginning(row.topic, row.partition, row.offset)

    async def _restart_partition(self, error: RecordError) -> None:
        position = self._ledger.next_offset(error.topic, error.partition)
        await self._restart_at_beginning(error.topic, error.partition, position)

    async def _restart_at_beginning(self, topic: str, partition: int, position: int) -> None:
        try:
            (begin,) = await self._ask(self._consumer.list_offsets, [(topic, partition, BEGINNING)])
        except KafkaFailure as failure:
            self._sparing.say(logging.WARNING, "the cluster does not say where a log begins", error=failure.name)
            self._loop.call_later(1.0, lambda: self._keep(self._restart_at_beginning(topic, partition, position)))
            return
        if (topic, partition) not in self._ledger.partitions():
            return  # it went to another member meanwhile
        self._note_missed(topic, partition, position, begin.offset)
        abandoned_count = self._ledger.revoke(topic, partition)
        if abandoned_count:
            self._books.ended(topic, abandoned=abandoned_count)
        self._ledger.assign(topic, partition, begin.offset)
        if self._consumer.rebalance_protocol == "COOPERATIVE":
            self._consumer.unassign([(topic, partition)], incremental=True)
            self._consumer.assign([(topic, partition, begin.offset)], incremental=True)
        else:
            others = [key for key in self._ledger.partitions() if key != (topic, partition)]
            rows = [
                (row.topic, row.partition, row.offset if row.offset >= 0 else self.committed[row.topic, row.partition])
                for row in self._consumer.positions(others)
            ]
            self._consumer.assign([*rows, (topic, partition, begin.offset)], incremental=False)

    # The end

    async def leave(self, timeout_s: float) -> bool:
        """Give everything back and leave the group. False when the group did not let us go in time."""
        self._consumer.close()
        deadline_s = self._loop.time() + timeout_s
        while not self._consumer.closed:
            self._serve_control()
            if self._loop.time() > deadline_s:
                return False
            await asyncio.sleep(0.005)
        return True

    def stop(self) -> None:
        """No more events. The caller destroys the consumer on a helper thread."""
        for task in list(self._tasks):
            task.cancel()
        for descriptor in (self._consumer.data_fd, self._consumer.control_fd, self._consumer.main_fd):
            self._loop.remove_reader(descriptor)
        self._network.shutdown(wait=False, cancel_futures=True)

    def join_network(self) -> None:
        """Runs on: a helper thread. Wait for the question that may be under way, which has its own time-out."""
        self._network.shutdown(wait=True)
