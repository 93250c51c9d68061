"""The source: Kafka in. Assignments, revokes, taking and storing; control events in, a ledger kept true out.

The group's events are answered by one task, one after the other: an assignment with explicit offsets, a revoke only
after what was taken has been drained and stored. Everything that goes to the network runs on a helper thread.

An expression among the inputs may match an output after all: a topic that appeared later, or a broker that reads
expressions otherwise. Then nothing more is taken, and the loop's exception handler gets a ConfigError (design 5.10).
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from random import Random

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
from ..rate_limited_log import RateLimitedLog
from ..telemetry.happenings import (
    ABANDONED,
    ASSIGNED,
    COMMIT_ERROR,
    GIVEN_BACK,
    LOST,
    MISSED,
    SOURCE_ERROR,
    UNDRAINED,
    Happening,
    Happenings,
)
from ..telemetry.loop_phases import COMMIT
from ..telemetry.metrics import Books, Counters
from .ledger import Key, Ledger
from .start_offsets import TOPIC_ID_METADATA, Start, StartOffsets

NETWORK_TIMEOUT_MS = 5000
# Topic ids only guard against a topic that was made anew; a cluster that does not tell them must not delay a stop.
TOPIC_ID_TIMEOUT_MS = 1500
TOPIC_ID_INTERVAL_S = 10.0
# The control queue is served by its eventfd; this often also without, as max.poll.interval.ms counts calls.
TICK_S = 0.1


class Source:
    """Runs on: the loop. `hold`, `resume` and `drained` are the engine's.

    never_inputs: outputs that may not be read, each with the key that makes it one.
    """

    def __init__(
        self,
        consumer: Consumer,
        topics: list[str],
        never_inputs: dict[str, str],
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
        self._never_inputs = never_inputs
        self._start_offsets = StartOffsets(consumer, auto_offset_reset, self._ask)
        self.drain_timeout_s = drain_timeout_s
        self._ledger = ledger
        self._books = books
        self._counters = counters
        self._on_notice = on_notice
        self._log = log
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._limited_log = RateLimitedLog(log, 10.0, self._loop.time)
        self._happenings = Happenings(counters, log, self._loop.time)
        # One thread: questions to the cluster follow each other, and a stop waits for one at most.
        self._network = ThreadPoolExecutor(1, thread_name_prefix="kafka-control")
        self._rebalances: asyncio.Queue[Rebalance] = asyncio.Queue()
        # Held while the assignment is changed: librdkafka takes any unassign for the answer to a revoke that waits.
        self._assignment = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._topic_ids: dict[str, str] = {}
        self.committed: dict[Key, int] = {}
        self._answering = self._leaving = False
        self.joined = False  # an assignment came, an empty one counts
        self.abandoned = 0
        self.missed = 0
        self.commit_error = ""  # the name of the last commit's error; empty when it was done
        self.ticked_s = 0.0  # when the tick last turned: the watchdog looks at it

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
        # A queue that had something when its descriptor was made wakes nobody until it is emptied; the tick looks at
        # the other two.
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
            self._loop.call_exception_handler({"message": "the source failed", "exception": error})

    # Taking and storing

    def take(self, batch: Batch, records_max: int) -> bool:
        """Fill a batch. True when the queue may have more: its eventfd then says nothing."""
        errors = self._consumer.take(batch, records_max)
        for error in errors:
            self._on_record_error(error)
        return batch.record_count + len(errors) == records_max

    def topic(self, index: int) -> str:
        """The name of a topic that a run names by number."""
        return self._consumer.topics[index]

    def store(self) -> None:
        """Tell librdkafka what is finished; it commits that every commit_interval_ms and when partitions go."""
        phase_before = self._counters.phases.enter(COMMIT)
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
                self._limited_log.say(
                    logging.WARNING,
                    "an offset could not be stored",
                    (refused.topic, refused.partition),
                    topic=refused.topic,
                    partition=refused.partition,
                    code=refused.error,
                )
        self._counters.phases.enter(phase_before)

    def _metadata(self, topic: str) -> bytes:
        known = self._topic_ids.get(topic)
        return TOPIC_ID_METADATA + known.encode() if known else b""

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._serve_control()
            self.store()
            self._pump()  # a wake-up that was missed must not stop the intake for ever
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
        for row in result.partitions:
            if row.error == 0 and row.offset >= 0 and (row.topic, row.partition) in self.committed:
                self.committed[row.topic, row.partition] = row.offset
        code = result.code or next((row.error for row in result.partitions if row.error), 0)
        if code == 0:
            self.commit_error = ""
        elif code != ErrorCode.NO_OFFSET:
            name = self.commit_error = error_name(code)
            self._happenings.note(COMMIT_ERROR, "commit", name)

    def _on_record_error(self, error: RecordError) -> None:
        if error.code == ErrorCode.AUTO_OFFSET_RESET and error.partition >= 0:
            self._keep(self._restart(self._generations([(error.topic, error.partition)])))
            return
        self._happenings.note(
            SOURCE_ERROR, "source", error.name, topic=error.topic, partition=error.partition, reason=error.text
        )

    # Rebalances

    async def _answer_rebalances(self) -> None:
        """Every event gets its answer: the group stands still for a member that owes one."""
        waiting: list[Key] = []  # assigned to us, and the cluster has not said yet where to begin
        while True:
            self._answering = False
            again = waiting and self._rebalances.empty() and not self._leaving
            rebalance = Rebalance("assign", [], False) if again else await self._rebalances.get()
            self._answering = True
            async with self._assignment:
                incremental = self._consumer.rebalance_protocol == "COOPERATIVE"
                if rebalance.kind == "assign":
                    waiting = await self._assign([*waiting, *rebalance.partitions], incremental)
                else:
                    gone = await self._revoke(rebalance, incremental)
                    waiting = [key for key in waiting if incremental and key not in gone]

    async def _assign(self, keys: list[Key], incremental: bool) -> list[Key]:
        """Gives the partitions that could not be assigned because another event has overtaken this one."""
        looped = {topic: self._never_inputs[topic] for topic, _ in keys if topic in self._never_inputs}
        if looped:
            self._refuse(looped)
        starts = await self._starts(keys)
        if starts is None:
            return keys
        self._consumer.assign([(*key, starts[key].offset) for key in keys], incremental=incremental)
        for key, start in starts.items():
            self._ledger.assign(*key, start.offset)
            self.committed[key] = start.offset if start.was_committed else -1
            if start.gone_from >= 0:
                self._note_missed(*key, start.gone_from, start.offset)
                self._commit_start([(key, start.offset)])
        self.joined = True
        self.commit_error = ""  # what could not be committed before comes again
        self._happenings.note(ASSIGNED, "assigned", partitions=_names(keys))
        fresh = [
            (*key, start.offset, -1, b"")
            for key, start in starts.items()
            if not start.was_committed and key[0] not in looped
        ]
        if fresh:
            # Committed at once: else a crash or a rebalance before the first commit would choose the start anew, and
            # with `latest` go over what was taken meanwhile. Stored as well, as librdkafka tries those again.
            self._consumer.commit(fresh)
            self._consumer.store(fresh)
        if keys:
            self._keep(self._compare_committed_ids(starts, self._generations(keys)))
        self._pump()
        return []

    async def _ask(self, question: Callable[..., object], subject: object, timeout_ms: int = NETWORK_TIMEOUT_MS):
        return await self._loop.run_in_executor(self._network, question, subject, timeout_ms)

    def _refuse(self, looped: dict[str, str]) -> None:
        """Outputs would come in: take nothing more, for good. They are assigned all the same, so that the daemon can
        drain, store and leave as ever."""
        self._hold()
        self._loop.call_exception_handler({"message": "an input is an output", "exception": loop_error(looped)})

    async def _starts(self, keys: list[Key]) -> dict[Key, Start] | None:
        """Where each partition is read from. Asks until the cluster answers; None when the group has moved on."""
        attempt = 0
        while keys:
            try:
                return await self._start_offsets.starts(keys)
            except KafkaFailure as error:
                self._limited_log.say(
                    logging.WARNING,
                    "the cluster does not say where to begin",
                    error.name,
                    error=error.name,
                    reason=str(error),
                )
                await asyncio.sleep(delay_s(attempt, self._random))
                attempt += 1
                if self._leaving or not self._rebalances.empty():
                    return None
        return {}

    def _note_missed(self, topic: str, partition: int, position: int, begin: int) -> None:
        missed_count = max(0, begin - position)
        self.missed += missed_count
        reason = "they were deleted" if missed_count else "the topic was made anew or cut"
        self._happenings.note(
            MISSED,
            topic,
            count=missed_count,
            topic=topic,
            partition=partition,
            position=position,
            log_start=begin,
            missed=missed_count,
            reason=reason,
        )

    async def _revoke(self, rebalance: Rebalance, incremental: bool) -> list[Key]:
        """Gives what was revoked. Of it only what was assigned is unassigned: librdkafka refuses the rest, and would
        then wait for another answer for ever."""
        keys = rebalance.partitions or (self._ledger.partitions() if not incremental else [])
        held = set(self._ledger.partitions())
        owned = [key for key in keys if key in held]
        if rebalance.lost:
            # Others have them already: nothing may be stored, and what is in flight counts for nobody.
            self._fence(owned, LOST, "lost")
            self._consumer.unassign(owned, incremental=incremental)
            return keys
        self._hold()
        try:
            drained = await self._drained(owned, self.drain_timeout_s)
            self.store()
            self._fence(owned, *((GIVEN_BACK, "given_back") if drained else (UNDRAINED, "undrained")))
            self._consumer.unassign(owned, incremental=incremental)
        finally:
            self._resume()
        return keys

    def _fence(self, keys: list[Key], what: Happening, kind: str) -> None:
        """Forget the partitions: late results of their generation are ignored from here on."""
        abandoned_count = 0
        for key in keys:
            abandoned_count += self._abandon(*key)
            self.committed.pop(key, None)
        for topic in set(self._topic_ids) - {topic for topic, _ in self._ledger.partitions()}:
            del self._topic_ids[topic]  # while others read it, it may be made anew
        self._happenings.note(what, kind, partitions=_names(keys), abandoned_events=abandoned_count)

    def _abandon(self, topic: str, partition: int) -> int:
        """The generation ends; gives how many of its events had not reached their end."""
        count = self._ledger.revoke(topic, partition)
        self.abandoned += count
        if count:
            self._books.ended(topic, abandoned=count)
            self._happenings.note(ABANDONED, count=count, topic=topic, partition=partition)
        return count

    async def ask_offsets(self, rows: list[tuple[str, int, int]]) -> list[PartitionOffset]:
        """The ends of logs as the broker has them. Raises KafkaFailure."""
        return await self._ask(self._consumer.list_offsets, rows)

    # What must not be skipped without a word

    async def _watch_topic_ids(self) -> None:
        """A topic that is deleted and made anew under us: the old position may be a valid one in the new log."""
        while True:
            await asyncio.sleep(TOPIC_ID_INTERVAL_S)
            await self._follow_topic_ids({topic for topic, _ in self._ledger.partitions()})

    async def _follow_topic_ids(self, topics: set[str]) -> None:
        """Ask for the ids of these topics, and read those anew whose id is another than before."""
        if not topics:
            return
        try:
            described = await self._ask(self._consumer.describe_topics, sorted(topics), TOPIC_ID_TIMEOUT_MS)
        except KafkaFailure as error:
            self._limited_log.say(logging.DEBUG, "the cluster does not tell topic ids", error.name, error=error.name)
            return
        for name, topic in described.items():
            owned = [key for key in self._ledger.partitions() if key[0] == name]
            if topic.error or not topic.topic_id or not owned:
                continue
            if self._topic_ids.setdefault(name, topic.topic_id) != topic.topic_id:
                await self._restart(self._generations(owned), topic.topic_id)

    async def _compare_committed_ids(self, starts: dict[Key, Start], generations: dict[Key, int]) -> None:
        """The same for what happened while nobody read: a commit carries the id of its topic."""
        await self._follow_topic_ids({topic for topic, _ in starts})
        ids = self._topic_ids
        made_anew = [
            key for key, start in starts.items() if start.topic_id and start.topic_id != ids.get(key[0], start.topic_id)
        ]
        await self._restart({key: generations[key] for key in made_anew})

    def _generations(self, keys: list[Key]) -> dict[Key, int]:
        """Of those that are assigned: a restart is about one generation, and the next one has had its own start."""
        return {key: generation for key in keys if (generation := self._ledger.generation(*key)) >= 0}

    async def _restart(self, generations: dict[Key, int], topic_id: str = "") -> None:
        """Read partitions anew from the beginning of their logs. `topic_id`: of their topic, which was made anew."""

        def left() -> list[Key]:
            return [key for key, generation in generations.items() if self._ledger.generation(*key) == generation]

        attempt = 0
        while keys := left():
            try:
                begins = await self._start_offsets.log_starts(keys)
            except KafkaFailure as failure:
                self._limited_log.say(
                    logging.WARNING, "the cluster does not say where a log begins", error=failure.name
                )
                await asyncio.sleep(delay_s(attempt, self._random))
                attempt += 1
                continue
            async with self._assignment:
                self._serve_control()
                if self._rebalances.empty() and left() == keys:
                    self._read_anew(begins, topic_id)
                    return

    def _read_anew(self, begins: dict[Key, int], topic_id: str) -> None:
        others = [key for key in self._ledger.partitions() if key not in begins]
        for key, begin in begins.items():
            self._note_missed(*key, self._ledger.next_offset(*key), begin)
            self._abandon(*key)
        rows = [(*key, begin) for key, begin in begins.items()]
        if self._consumer.rebalance_protocol == "COOPERATIVE":
            self._consumer.unassign(list(begins), incremental=True)
            self._consumer.assign(rows, incremental=True)
        else:
            # All of them stop and start; the others go on where they stand.
            stands = {(row.topic, row.partition): row.offset for row in self._consumer.positions(others)}
            rows += [(*key, max(stands[key], self._ledger.next_offset(*key))) for key in others]
            self._consumer.unassign([], incremental=False)
            self._consumer.assign(rows, incremental=False)
        if topic_id:
            # Not before: a commit of the old log must never carry the id of the new one.
            self._topic_ids |= {topic: topic_id for topic, _ in begins}
        for key, begin in begins.items():
            self._ledger.assign(*key, begin)
        self._commit_start(begins.items())

    def _commit_start(self, starts: Iterable[tuple[Key, int]]) -> None:
        """Of a log that lacks what was committed: librdkafka commits a stored offset only above its last commit."""
        self._consumer.commit([(*key, offset, -1, self._metadata(key[0])) for key, offset in starts])

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
            self._log.warning("the group is not left", extra={"error": error.name, "reason": str(error)})
            return False
        deadline_s = self._loop.time() + timeout_s
        while not self._consumer.closed:
            self._serve_control()
            if self._loop.time() > deadline_s:
                return False
            await asyncio.sleep(0.005)
        self._serve_main()  # how the last commit went
        if self.commit_error:
            self._log.warning("the last offsets were not committed: what came after them comes again")
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


def _names(keys: list[Key]) -> list[str]:
    """As people and Kafka's tools write partitions."""
    return [f"{topic}-{partition}" for topic, partition in keys]
