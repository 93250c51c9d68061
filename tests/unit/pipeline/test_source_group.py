"""The source in its group: where it begins, what it gives back, what it refuses, how it leaves."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from ingestd._fastpath import Batch
from ingestd._librdkafka import CommitResult, ErrorCode, PartitionOffset, Rebalance, RecordError
from ingestd.errors import ConfigError, KafkaFailure
from ingestd.pipeline import source as source_module
from ingestd.pipeline.ledger import Key, Ledger, LedgerRun
from ingestd.pipeline.source import Source
from ingestd.telemetry.metrics import Books
from tests.support.fake_consumer import FakeConsumer
from tests.support.harness import LogLines, until
from tests.support.runtime import runtime_for_tests

NOT_LEADER = 6
TIMED_OUT, AUTO_OFFSET_RESET, NO_OFFSET = ErrorCode.TIMED_OUT, ErrorCode.AUTO_OFFSET_RESET, ErrorCode.NO_OFFSET
A0, A1, B0 = ("a", 0), ("a", 1), ("b", 0)


class World:
    """A source with its ledger and books; `drains` is whether what is taken reaches its end in time."""

    def __init__(self, consumer: FakeConsumer, reset: str = "earliest", never: dict[str, str] | None = None) -> None:
        self.consumer = consumer
        self.ledger, self.books = Ledger(), Books()
        self.lines = LogLines()
        log = logging.getLogger("test.source")
        log.handlers[:], log.propagate = [self.lines], False
        log.setLevel(logging.DEBUG)
        self.drains, self.in_flight = True, False
        self.drained_keys: list[list[Key]] = []
        self.holds = 0
        self.failures: list[BaseException] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: self.failures.append(context["exception"]))
        runtime = runtime_for_tests(log)
        self.counters = runtime.counters
        self.source = Source(
            consumer=consumer,
            topics=["a"],
            never_inputs=never or {},
            auto_offset_reset=reset,
            drain_timeout_s=1.0,
            ledger=self.ledger,
            books=self.books,
            on_notice=print,
            runtime=runtime,
        )
        self.source.connect(pump=lambda: None, hold=self._hold, resume=self._resume, drained=self._drained)
        consumer.open_descriptors()
        self.source.start()

    def _hold(self) -> None:
        self.holds += 1

    def _resume(self) -> None:
        self.holds -= 1

    async def _drained(self, keys: Iterable[Key], timeout_s: float) -> bool:
        self.drained_keys.append(list(keys))
        assert self.holds, "nothing more may be taken while it drains"
        if self.drains and self.in_flight:
            self.ledger.finish(1)
        return self.drains

    def open(self, topic: str, partition: int, first: int, count: int) -> None:
        """A batch of this partition is in flight."""
        self.in_flight = True
        self.books.received(topic, count)
        self.ledger.open(1, [LedgerRun(topic, partition, first, first + count - 1, count, -1)])

    async def until_called(self, name: str, arguments: Any) -> None:
        await until(lambda: (name, arguments) in self.consumer.calls, f"{name} {arguments}: {self.consumer.calls}", 10)

    def said(self, message: str) -> list[dict[str, Any]]:
        return [vars(line) for line in self.lines.records if line.getMessage() == message]

    async def end(self) -> None:
        self.source.stop()
        await asyncio.to_thread(self.source.join_network)
        await asyncio.sleep(0)
        self.consumer.close_descriptors()


def run(consumer: FakeConsumer, work: Callable[[World], Awaitable[None]], **settings: Any) -> None:
    async def whole() -> None:
        world = World(consumer, **settings)
        try:
            await work(world)
        finally:
            await world.end()
        assert not world.failures

    asyncio.run(asyncio.wait_for(whole(), 30))


def stored(consumer: FakeConsumer) -> list[tuple[str, int, int]]:
    return [row[:3] for row in consumer.stored]


@pytest.fixture(autouse=True)
def quick_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "delay_s", lambda attempt, random: 0.01)


# Where reading begins


@pytest.mark.parametrize(
    ("reset", "commits", "expected"),
    [
        ("earliest", {}, [("a", 0, 5), ("a", 1, 0)]),
        ("latest", {}, [("a", 0, 9), ("a", 1, 3)]),
        ("earliest", {A0: 7, A1: 3}, [("a", 0, 7), ("a", 1, 3)]),
        ("latest", {A0: 7, A1: 0}, [("a", 0, 7), ("a", 1, 0)]),
        ("latest", {A0: 9}, [("a", 0, 9), ("a", 1, 0)]),  # of a known topic, so from its beginning
    ],
)
def test_a_commit_counts_and_without_one_the_setting(reset: str, commits: dict, expected: list) -> None:
    consumer = FakeConsumer(a0=(5, 9), a1=(0, 3))
    for key, offset in commits.items():
        consumer.has_committed(key, offset)

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0, A1)
        await world.until_called("assign", expected)
        assert world.source.joined
        assert not world.said("records were deleted before they were read, reading goes on at the log's start")
        # Committed at once: else a rebalance before the first record would choose the start again.
        assert stored(consumer) == [row for row in expected if row[:2] not in commits]

    run(consumer, work, reset=reset)


def test_a_partition_of_a_topic_that_was_known_elsewhere_begins_at_its_beginning() -> None:
    """`latest` is for topics that the group has never read; one more partition of another is not to lose its first."""
    consumer = FakeConsumer(a0=(0, 9), a1=(2, 4), b0=(1, 7))
    consumer.has_committed(A0, 5)

    async def work(world: World) -> None:
        consumer.rebalance("assign", A1, B0)
        await world.until_called("assign", [("a", 1, 2), ("b", 0, 7)])

    run(consumer, work, reset="latest")


@pytest.mark.parametrize("error_at", ["committed", "begin", "end"])
def test_a_cluster_that_does_not_answer_is_asked_until_it_does(error_at: str) -> None:
    consumer = FakeConsumer(a0=(5, 9))
    before = {"committed": 0, "begin": 1, "end": 2}[error_at]

    async def work(world: World) -> None:
        asked = consumer._ask

        def fail(question: str) -> None:
            asked(question)
            if len(consumer.questions) == before + 1:
                raise KafkaFailure(TIMED_OUT, "_TIMED_OUT", "made by the test")

        consumer._ask = fail
        consumer.rebalance("assign", A0)
        await world.until_called("assign", [("a", 0, 5)])
        assert world.said("cannot determine start offsets")

    run(consumer, work)


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_a_partition_whose_leader_moves_is_asked_again_and_never_begins_at_the_end(reset: str) -> None:
    """ListOffsets answers with an error for one partition, and -1 as its offset: to librdkafka that is the end."""
    consumer = FakeConsumer(a0=(5, 9))
    consumer.errors = {A0: NOT_LEADER}

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0)
        await until(lambda: consumer.questions.count("committed") >= 3, "it asks again")
        assert [name for name, _ in consumer.calls] == ["subscribe"]
        consumer.errors = {}
        await world.until_called("assign", [("a", 0, 5 if reset == "earliest" else 9)])

    run(consumer, work, reset=reset)


def test_a_partition_without_a_leader_begins_at_its_commit_and_keeps_no_other() -> None:
    consumer = FakeConsumer(a0=(5, 9), a1=(0, 3))
    consumer.has_committed(A0, 7)
    consumer.errors = {A0: NOT_LEADER}

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0, A1)
        await world.until_called("assign", [("a", 0, 7), ("a", 1, 0)])
        assert not world.said("records were deleted before they were read, reading goes on at the log's start")

    run(consumer, work)


def test_a_topic_that_can_not_be_described_is_not_taken_for_a_new_one() -> None:
    consumer = FakeConsumer(a0=(0, 9), a1=(2, 4))
    consumer.has_committed(A0, 5)
    consumer.errors = {"describe_topics": 5}  # LEADER_NOT_AVAILABLE

    async def work(world: World) -> None:
        consumer.rebalance("assign", A1)
        await until(lambda: consumer.questions.count("describe_topics") >= 2, "it asks again")
        consumer.errors = {}
        await world.until_called("assign", [("a", 1, 2)])

    run(consumer, work, reset="latest")


@pytest.mark.parametrize(("commit", "missed"), [(2, 3), (0, 5), (99, 0)])
def test_a_commit_that_the_log_does_not_have_begins_at_the_log_s_start_and_is_said(commit: int, missed: int) -> None:
    consumer = FakeConsumer(a0=(5, 9))
    consumer.has_committed(A0, commit)

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0)
        await world.until_called("assign", [("a", 0, 5)])
        (line,) = world.said("records were deleted before they were read, reading goes on at the log's start")
        assert (line["position"], line["log_start"], line["missed"]) == (commit, 5, missed)
        assert world.source.missed == world.counters.value("ingestd_records_missed_total", "a") == missed

    run(consumer, work)


def test_a_group_that_moves_on_while_nobody_answers_is_followed() -> None:
    consumer = FakeConsumer(a0=(5, 9))
    consumer.errors = {A0: NOT_LEADER}

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0)
        await until(lambda: len(consumer.questions) > 3, "it asks")
        consumer.rebalance("revoke", A0)
        # It was never assigned, so librdkafka would refuse it by name; but the event wants its answer.
        await world.until_called("unassign", [])
        assert not world.source.joined and world.ledger.partitions() == []

    run(consumer, work)


def test_an_empty_assignment_counts_as_joined() -> None:
    consumer = FakeConsumer()

    async def work(world: World) -> None:
        consumer.rebalance("assign")
        await world.until_called("assign", [])
        assert world.source.joined and consumer.questions == []

    run(consumer, work)


# Giving back


def test_a_revoke_drains_stores_and_then_gives_back() -> None:
    consumer = FakeConsumer(a0=(0, 9), a1=(0, 9))

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0, A1)
        await until(lambda: world.source.joined, "joined")
        world.open("a", 0, 0, 4)
        consumer.stored.clear()
        consumer.rebalance("revoke", A0)
        await world.until_called("unassign", [A0])
        assert world.drained_keys == [[A0]] and stored(consumer) == [("a", 0, 4)]
        assert world.ledger.partitions() == [A1] and world.holds == 0
        assert world.source.abandoned == 0 and world.said("partitions given back")

    run(consumer, work)


def test_a_revoke_that_can_not_drain_in_time_abandons_and_counts_and_stores_nothing_of_it() -> None:
    consumer = FakeConsumer(a0=(0, 9))

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0)
        await until(lambda: world.source.joined, "joined")
        world.open("a", 0, 0, 4)
        world.drains = False
        consumer.stored.clear()
        consumer.rebalance("revoke", A0)
        await world.until_called("unassign", [A0])
        assert consumer.stored == [] and world.holds == 0
        assert world.source.abandoned == world.counters.value("ingestd_events_abandoned_total") == 4
        account = world.books.as_dict()["a"]
        assert (account["abandoned"], account["in_flight"]) == (4, 0) and world.books.balances()
        (line,) = world.said("partitions given back before they were drained")
        assert (line["abandoned_events"], line["levelno"]) == (4, logging.WARNING)
        assert world.ledger.finish(1) == [False], "a late result counts for nobody"

    run(consumer, work)


def test_a_lost_assignment_is_fenced_at_once_and_nothing_is_stored() -> None:
    """Others have the partitions already: waiting for what is in flight, or storing it, would be theirs to do."""
    consumer = FakeConsumer(a0=(0, 9))

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0)
        await until(lambda: world.source.joined, "joined")
        world.open("a", 0, 0, 4)
        consumer.stored.clear()
        consumer.rebalance("revoke", A0, lost=True)
        await world.until_called("unassign", [A0])
        assert world.drained_keys == [] and consumer.stored == []
        assert world.source.abandoned == 4 and world.books.balances()
        assert world.said("partitions lost")[0]["abandoned_events"] == 4

    run(consumer, work)


def test_with_the_eager_protocol_a_revoke_without_names_gives_everything_back() -> None:
    consumer = FakeConsumer(a0=(0, 9), a1=(0, 9))
    consumer.rebalance_protocol = "EAGER"

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0, A1)
        await until(lambda: world.source.joined, "joined")
        consumer.rebalance("revoke")
        await world.until_called("unassign", [A0, A1])
        assert world.ledger.partitions() == []

    run(consumer, work)


# What must not be skipped without a word


def test_a_position_that_was_deleted_is_restarted_at_the_log_s_start_and_counted() -> None:
    consumer = FakeConsumer(a0=(0, 9))

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0)
        await until(lambda: world.source.joined, "joined")
        consumer.limits[A0] = (6, 9)
        consumer.record_errors = [RecordError(AUTO_OFFSET_RESET, "_AUTO_OFFSET_RESET", "", "a", 0)]
        world.source.take(Batch(10), 10)
        await world.until_called("assign", [("a", 0, 6)])
        assert world.source.missed == 6 and world.ledger.next_offset("a", 0) == 6

    run(consumer, work)


def test_a_position_that_went_with_its_partition_is_nobody_s() -> None:
    """The error lies in the queue when the partition is given back: that is no reason to stop the daemon."""
    consumer = FakeConsumer(a0=(0, 9))

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0)
        await until(lambda: world.source.joined, "joined")
        consumer.record_errors = [RecordError(AUTO_OFFSET_RESET, "_AUTO_OFFSET_RESET", "", "a", 0)]
        world.source.take(Batch(10), 10)
        world.ledger.revoke("a", 0)
        calls = len(consumer.calls)
        await until(lambda: len(world.source._tasks) <= 3, "the restart is over")
        assert len(consumer.calls) == calls and world.source.missed == 0

    run(consumer, work)


def test_a_log_s_start_that_the_cluster_does_not_answer_is_asked_for_again() -> None:
    consumer = FakeConsumer(a0=(0, 9))

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0)
        await until(lambda: world.source.joined, "joined")
        consumer.limits[A0], consumer.errors = (6, 9), {A0: NOT_LEADER}
        asked = len(consumer.questions)
        consumer.record_errors = [RecordError(AUTO_OFFSET_RESET, "_AUTO_OFFSET_RESET", "", "a", 0)]
        world.source.take(Batch(10), 10)
        await until(lambda: len(consumer.questions) >= asked + 3, "it asks again")
        consumer.errors = {}
        await world.until_called("assign", [("a", 0, 6)])

    run(consumer, work)


def test_a_topic_recreated_while_nobody_read_is_known_by_the_id_in_the_commit() -> None:
    consumer = FakeConsumer(a0=(0, 90))
    consumer.has_committed(A0, 50, b"topic_id=old")
    consumer.ids = {"a": "new"}

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0)
        await world.until_called("assign", [("a", 0, 50)])
        await world.until_called("assign", [("a", 0, 0)])
        (line,) = world.said("records were deleted before they were read, reading goes on at the log's start")
        assert line["reason"] == "the topic was recreated or truncated"

    run(consumer, work)


# Inputs that are outputs, commits, the end


def test_an_assignment_of_an_output_stops_the_intake_for_good_and_is_a_config_error() -> None:
    consumer = FakeConsumer(a0=(0, 9), b0=(0, 9))

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0, B0)
        await until(lambda: world.source.joined, "it is answered, so that the group can be left")
        (error,) = world.failures
        assert isinstance(error, ConfigError) and "'b'" in str(error) and "kafka.topics.logs" in str(error)
        assert world.holds == 1
        assert stored(consumer) == [("a", 0, 0)], "no start of the output is committed"
        world.failures.clear()

    run(consumer, work, never={"b": "kafka.topics.logs"})


def test_a_failed_commit_is_counted_and_a_good_one_is_known() -> None:
    consumer = FakeConsumer(a0=(0, 9))

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0)
        await until(lambda: world.source.joined, "joined")
        consumer.say(CommitResult(25, [PartitionOffset("a", 0, 3, error=25)]))
        await until(lambda: world.counters.value("ingestd_errors_total", "commit", "UNKNOWN_MEMBER_ID"), "counted")
        assert world.source.committed[A0] == -1
        consumer.say(CommitResult(0, [PartitionOffset("a", 0, 4)]))
        await until(lambda: world.source.committed[A0] == 4, "known")

    run(consumer, work)


@pytest.mark.parametrize(("code", "committed"), [(0, True), (NO_OFFSET, True), (TIMED_OUT, False)])
def test_leaving_is_well_only_when_the_last_commit_was(code: int, committed: bool) -> None:
    """Else what came after the commit before comes again, and the exit code has to say so."""
    consumer = FakeConsumer(a0=(0, 9))
    consumer.on_close = [CommitResult(code, []), Rebalance("revoke", [A0], False)]

    async def work(world: World) -> None:
        consumer.rebalance("assign", A0)
        await until(lambda: world.source.joined, "joined")
        assert await world.source.leave(5.0)
        assert (world.source.commit_error == "") is committed
        said = world.said("the last offsets were not committed: events behind them will be read again")
        assert bool(said) is not committed

    run(consumer, work)


def test_leaving_waits_for_a_question_of_an_assignment_and_asks_no_more() -> None:
    """librdkafka leaves questions about offsets unanswered once it is closing, and the group would not let us go."""
    consumer = FakeConsumer(a0=(0, 9))
    consumer.errors = {A0: NOT_LEADER}
    consumer.on_close = [Rebalance("revoke", [A0], False)]
    answer = threading.Event()

    async def work(world: World) -> None:
        asked = consumer._ask
        consumer._ask = lambda question: (asked(question), answer.wait(10))
        consumer.rebalance("assign", A0)
        await until(lambda: consumer.questions, "it asks")
        leaving = asyncio.create_task(world.source.leave(5.0))
        consumer.say(CommitResult(0, [PartitionOffset("a", 0, 4)]))
        await until(lambda: not consumer.events, "the loop goes on")
        assert consumer.calls == [("subscribe", ["a"])], "no close before the answer"
        answer.set()
        assert await leaving is True
        assert [name for name, _ in consumer.calls] == ["subscribe", "close", "unassign"]
        assert consumer.questions == ["committed", "list_offsets", "list_offsets"], "not asked again"

    run(consumer, work)
