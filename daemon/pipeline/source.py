"""Reads Kafka: joins the group, takes records, stores what is finished, and answers the group's rebalances.

The group's events are answered by one task (`_answer_rebalances`), one after the other; librdkafka's heartbeats go on
meanwhile. It is the same for the eager, the cooperative and the new consumer protocol:

    assign   on a helper thread ask for commits and both ends of each log, until the cluster answers; give each
             partition an explicit offset and a new generation; commit a start that was not committed before
    revoke   take nothing; drain what was taken, up to pipeline.drain_timeout_ms; store; forget the partitions;
             unassign, with which librdkafka commits. What is not finished is abandoned: another member gets it
    lost     others have the partitions already: forget and unassign at once, store nothing

A position that the log does not have comes as an error of its partition, as auto.offset.reset is `error`: `_restart`
goes on at the log's start, and what was missed is counted.

An expression among the inputs may match an output after all: a topic that appeared later, or a broker that reads
expressions otherwise. Then nothing more is taken, and the loop's exception handler gets a ConfigError.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable

from .._fastpath import Batch
from .._librdkafka import (
    CommitResult,
    Consumer,
    ErrorCode,
    KafkaNotice,
    PartitionOffset,
    Rebalance,
    RecordError,
    error_name,
)
from ..backoff import delay_s
from ..config.checks import loop_error
from ..errors import KafkaFailure
from ..telemetry.happenings import COMMIT_ERROR, GIVEN_BACK, LOST, SOURCE_ERROR, UNDRAINED
from ..telemetry.loop_phases import COMMIT
from ..telemetry.metrics import Books
from ..telemetry.runtime import Runtime
from .assignment import Assignment
from .cluster_queries import ClusterQueries
from .ledger import Key, Ledger
from .start_offsets import Start, StartOffsets
from .topic_ids import TOPIC_ID_INTERVAL_S, TopicIds

# Non-obvious: `max.poll.interval.ms` counts calls, so the control queue is served each tick, also when it is empty.
# Its eventfd wakes the loop as well; but a member that stays idle for longer than the limit is thrown out of the group.
TICK_S = 0.1


class Source:
    """Runs on: the loop. never_inputs: outputs that may not be read, each with the key that makes it one.

    `connect` gives it the engine's `pump`, `hold`, `resume` and `drained`, as the engine needs the source itself.
    """

    def __init__(
        self,
        *,
        consumer: Consumer,
        topics: list[str],
        never_inputs: dict[str, str],
        auto_offset_reset: str,
        drain_timeout_s: float,
        ledger: Ledger,
        books: Books,
        on_notice: Callable[[KafkaNotice], None],
        runtime: Runtime,
    ) -> None:
        self._consumer = consumer
        self._topics = topics
        self._never_inputs = never_inputs
        self.drain_timeout_s = drain_timeout_s
        self._ledger = ledger
        self._on_notice = on_notice
        self._phases = runtime.counters.phases
        self._happenings = runtime.happenings
        self._log = runtime.log
        self._limited_log = runtime.limited_log
        self._random = runtime.random
        self._loop = asyncio.get_running_loop()
        self._queries = ClusterQueries(consumer)
        self._start_offsets = StartOffsets(queries=self._queries, auto_offset_reset=auto_offset_reset)
        self._topic_ids = TopicIds(queries=self._queries, ledger=ledger, runtime=runtime)
        self._assignment = Assignment(
            consumer=consumer, ledger=ledger, books=books, topic_ids=self._topic_ids, runtime=runtime
        )
        # Held while the assignment is changed: librdkafka takes any unassign for the answer to a revoke that waits.
        self._assignment_lock = asyncio.Lock()
        self._rebalances: asyncio.Queue[Rebalance] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._answering = self._leaving = False
        self.joined = False  # an assignment came, an empty one counts
        self.commit_error = ""  # the name of the last commit's error; empty when it was done
        self.ticked_s = 0.0  # when the tick last turned: the watchdog looks at it

    def connect(
        self,
        *,
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
        # Non-obvious: an eventfd fires when a queue stops being empty, and not when it is enabled on a full one.
        # So this queue is served once for what came before; the tick looks at the other two.
        self._serve_main()
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
            self._loop.call_exception_handler({"message": "a task of the Kafka source failed", "exception": error})

    # What others ask

    @property
    def committed(self) -> dict[Key, int]:
        """What the group has of each partition; -1: nothing yet."""
        return self._assignment.committed

    @property
    def abandoned(self) -> int:
        """Events that were given back to the group before they were done."""
        return self._assignment.abandoned

    @property
    def missed(self) -> int:
        """Records that were deleted before they were read."""
        return self._assignment.missed

    def topic(self, index: int) -> str:
        """The name of a topic that a run names by its index."""
        return self._consumer.topics[index]

    async def ask_offsets(self, rows: list[tuple[str, int, int]]) -> list[PartitionOffset]:
        """The ends of logs as the broker has them. Raises KafkaFailure."""
        return await self._queries.list_offsets(rows)

    # Taking and storing

    def take(self, batch: Batch, records_max: int) -> bool:
        """Fill a batch. True when the queue may have more: its eventfd then says nothing."""
        errors = self._consumer.take(batch, records_max)
        for error in errors:
            self._on_record_error(error)
        return batch.record_count + len(errors) == records_max

    def store(self) -> None:
        """Tell librdkafka what is finished; it commits that every commit_interval_ms and when partitions go.

        Non-obvious: offsets are stored, never committed by us, as only commits of stored offsets are retried.
        librdkafka does so also with STALE_MEMBER_EPOCH, and not for commits that a program asks for.
        """
        phase_before = self._phases.enter(COMMIT)
        idle = self._ledger.idle_partitions()
        if idle:
            # Non-obvious: a partition that owes nothing gets its position stored, which may be past its last record.
            # Markers of transactions and compacted records leave gaps that no record ends: lag would never reach 0.
            for row in self._consumer.positions(idle):
                self._ledger.advance(row.topic, row.partition, row.offset)
        rows = [
            (row.topic, row.partition, row.next_offset, row.leader_epoch, self._topic_ids.commit_metadata(row.topic))
            for row in self._ledger.take_storable()
        ]
        if rows:
            for refused in self._consumer.store(rows):
                self._limited_log.say(
                    logging.WARNING,
                    "an offset could not be stored",
                    (refused.topic, refused.partition),
                    topic=refused.topic,
                    partition=refused.partition,
                    code=refused.error,
                )
        self._phases.enter(phase_before)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._serve_control()
            self.store()
            # Non-obvious: whoever stops before a queue is empty must come back by itself, as its eventfd stays silent.
            # `take` says that there is more and `resume` schedules a pump; this is for a wake-up that was missed.
            self._pump()
            self.ticked_s = self._loop.time()

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
        committed = self._assignment.committed
        for row in result.partitions:
            if row.error == 0 and row.offset >= 0 and (row.topic, row.partition) in committed:
                committed[row.topic, row.partition] = row.offset
        code = result.code or next((row.error for row in result.partitions if row.error), 0)
        if code == 0:
            self.commit_error = ""
        elif code != ErrorCode.NO_OFFSET:
            name = self.commit_error = error_name(code)
            self._happenings.note(COMMIT_ERROR, "commit", name)

    def _on_record_error(self, error: RecordError) -> None:
        if error.code == ErrorCode.AUTO_OFFSET_RESET and error.partition >= 0:
            self._keep(self._restart(self._ledger.generations([(error.topic, error.partition)])))
            return
        self._happenings.note(
            SOURCE_ERROR, "source", error.name, topic=error.topic, partition=error.partition, reason=error.text
        )

    # Rebalances

    async def _answer_rebalances(self) -> None:
        """Every event gets its answer: the group stands still for a member that owes one.

        Non-obvious: while a revoke is not answered, no partition of the member delivers, not only the revoked ones.
        """
        waiting: list[Key] = []  # assigned to us, and their start offsets are not known yet
        while True:
            self._answering = False
            again = waiting and self._rebalances.empty() and not self._leaving
            rebalance = Rebalance("assign", [], False) if again else await self._rebalances.get()
            self._answering = True
            async with self._assignment_lock:
                incremental = self._assignment.is_incremental
                if rebalance.kind == "assign":
                    waiting = await self._assign([*waiting, *rebalance.partitions], incremental)
                else:
                    revoked = await self._revoke(rebalance, incremental)
                    waiting = [key for key in waiting if incremental and key not in revoked]

    async def _assign(self, keys: list[Key], incremental: bool) -> list[Key]:
        """Gives the partitions that could not be assigned because another event has overtaken this one."""
        looped = {topic: self._never_inputs[topic] for topic, _ in keys if topic in self._never_inputs}
        if looped:
            self._refuse(looped)
        starts = await self._starts(keys)
        if starts is None:
            return keys
        self._assignment.assign(keys, starts, incremental=incremental, never_commit=looped)
        self.joined = True
        self.commit_error = ""  # what could not be committed before comes again
        if keys:
            self._keep(self._compare_committed_ids(starts, self._ledger.generations(starts)))
        self._pump()
        return []

    def _refuse(self, looped: dict[str, str]) -> None:
        """Outputs would come in: take nothing more, for good. They are assigned all the same, so that the daemon can
        drain, store and leave as ever."""
        self._hold()
        self._loop.call_exception_handler(
            {"message": "an input topic is also an output", "exception": loop_error(looped)}
        )

    async def _starts(self, keys: list[Key]) -> dict[Key, Start] | None:
        """Where each partition is read from. Asks until the cluster answers; None when the group has moved on."""
        attempt = 0
        while keys:
            try:
                return await self._start_offsets.starts(keys)
            except KafkaFailure as error:
                self._limited_log.say(
                    logging.WARNING,
                    "cannot determine start offsets",
                    error.name,
                    error=error.name,
                    reason=str(error),
                )
                await asyncio.sleep(delay_s(attempt, self._random))
                attempt += 1
                if self._leaving or not self._rebalances.empty():
                    return None
        return {}

    async def _revoke(self, rebalance: Rebalance, incremental: bool) -> list[Key]:
        """Gives what was revoked. Of it only what was assigned is unassigned: librdkafka refuses the rest, and would
        then wait for another answer for ever."""
        keys = rebalance.partitions or (self._ledger.partitions() if not incremental else [])
        held = set(self._ledger.partitions())
        owned = [key for key in keys if key in held]
        if rebalance.lost:
            # Non-obvious: after `assignment_lost` nothing may be stored, as another member has read on.
            # What is in flight counts for nobody.
            self._assignment.forget(owned, LOST, "lost")
            self._consumer.unassign(owned, incremental=incremental)
            return keys
        self._hold()
        try:
            drained = await self._drained(owned, self.drain_timeout_s)
            self.store()
            self._assignment.forget(owned, *((GIVEN_BACK, "given_back") if drained else (UNDRAINED, "undrained")))
            self._consumer.unassign(owned, incremental=incremental)
        finally:
            self._resume()
        return keys

    # What must not be skipped without a word

    async def _watch_topic_ids(self) -> None:
        """A topic that is deleted and created again while it is read."""
        while True:
            await asyncio.sleep(TOPIC_ID_INTERVAL_S)
            await self._check_topic_ids(self._ledger.topics())

    async def _check_topic_ids(self, topics: set[str]) -> None:
        for recreated in await self._topic_ids.find_recreated(topics):
            await self._restart(recreated.generations, recreated.topic_id)

    async def _compare_committed_ids(self, starts: dict[Key, Start], generations: dict[Key, int]) -> None:
        """The same for what happened while nobody read: a commit carries the id of its topic."""
        await self._check_topic_ids({topic for topic, _ in starts})
        await self._restart({key: generations[key] for key in self._topic_ids.recreated_since_commit(starts)})

    async def _restart(self, generations: dict[Key, int], topic_id: str = "") -> None:
        """Read partitions again from the start of their logs. `topic_id`: of their topic, when it was recreated.

        generations: a restart is about one assignment of a partition, and the next one has had its own start.
        """

        def left() -> list[Key]:
            return [key for key, generation in generations.items() if self._ledger.generation(*key) == generation]

        attempt = 0
        while keys := left():
            try:
                log_starts = await self._start_offsets.log_starts(keys)
            except KafkaFailure as failure:
                self._limited_log.say(logging.WARNING, "cannot determine where logs start", error=failure.name)
                await asyncio.sleep(delay_s(attempt, self._random))
                attempt += 1
                continue
            async with self._assignment_lock:
                self._serve_control()
                if self._rebalances.empty() and left() == keys:
                    self._assignment.restart(log_starts, topic_id)
                    return

    # The end

    async def leave(self, timeout_s: float) -> bool:
        """Give everything back and leave the group. False when it took too long; `commit_error` says how it ended."""
        self._leaving = True
        deadline_s = self._loop.time() + timeout_s
        while self._answering and self._loop.time() < deadline_s:
            # Once it is closing, librdkafka leaves questions about offsets unanswered, and an assignment waits for one.
            await asyncio.sleep(0.005)
        try:
            self._consumer.close()
        except KafkaFailure as error:  # after a fatal error librdkafka leaves no group
            self._log.warning("could not leave the consumer group", extra={"error": error.name, "reason": str(error)})
            return False
        deadline_s = self._loop.time() + timeout_s
        while not self._consumer.closed:
            self._serve_control()
            if self._loop.time() > deadline_s:
                return False
            await asyncio.sleep(0.005)
        self._serve_main()  # how the last commit went
        if self.commit_error:
            self._log.warning("the last offsets were not committed: events behind them will be read again")
        return True

    def stop(self) -> None:
        """No more events. The caller destroys the consumer on a helper thread."""
        for task in list(self._tasks):
            task.cancel()
        for descriptor in (self._consumer.data_fd, self._consumer.control_fd, self._consumer.main_fd):
            self._loop.remove_reader(descriptor)
        self._queries.stop()

    def join_network(self) -> None:
        """Runs on: a helper thread. Wait for the question that may be under way, which has its own time-out."""
        self._queries.join()
