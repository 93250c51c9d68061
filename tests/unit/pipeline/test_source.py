"""The source with a group and a cluster that say what they are told to: where it begins, and that it always answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ingestd._fastpath import Batch
from ingestd._librdkafka import ErrorCode, KafkaNotice, PartitionOffset, RecordError
from ingestd.pipeline.ledger import Ledger, LedgerRun
from ingestd.pipeline.source import Source
from ingestd.telemetry.happenings import GIVEN_BACK
from ingestd.telemetry.metrics import Books
from tests.support.fake_consumer import FakeConsumer
from tests.support.harness import until
from tests.support.runtime import quiet_log, runtime_for_tests

IN_0, IN_1, OTHER_0 = ("in", 0), ("in", 1), ("other", 0)
NOT_LEADER, UNSTABLE_OFFSET_COMMIT = 6, 88


class World:
    """A source, its ledger and books; nothing is taken, so that runs are opened by the test."""

    def __init__(self, consumer: FakeConsumer, auto_offset_reset: str) -> None:
        self.ledger, self.books = Ledger(), Books()
        self.holds = 0
        self.notices: list[KafkaNotice] = []
        self.source = Source(
            consumer=consumer,
            topics=["in"],
            never_inputs={},
            auto_offset_reset=auto_offset_reset,
            drain_timeout_s=0.05,
            ledger=self.ledger,
            books=self.books,
            on_notice=self.notices.append,
            runtime=runtime_for_tests(quiet_log()),
        )
        self.source.connect(
            pump=self._pump, hold=lambda: self._hold(1), resume=lambda: self._hold(-1), drained=self._drained
        )

    def _pump(self) -> None:
        self.source.take(Batch(1), 1)

    def _hold(self, step: int) -> None:
        self.holds += step

    async def _drained(self, keys: list, timeout_s: float) -> bool:
        await asyncio.sleep(0)
        return self.ledger.unfinished(keys) == 0


@asynccontextmanager
async def world(consumer: FakeConsumer, auto_offset_reset: str = "earliest") -> AsyncIterator[World]:
    failures: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    consumer.open_descriptors()
    made = World(consumer, auto_offset_reset)
    made.source.start()
    try:
        yield made
        assert failures == []
    finally:
        made.source.stop()
        await asyncio.to_thread(made.source.join_network)
        consumer.close_descriptors()


def run(work: Callable) -> None:
    asyncio.run(asyncio.wait_for(work(), 60))


def out_of_range(topic: str, partition: int) -> RecordError:
    return RecordError(ErrorCode.AUTO_OFFSET_RESET, "_AUTO_OFFSET_RESET", "", topic, partition)


def test_what_came_before_the_source_listened_is_served():
    async def work() -> None:
        consumer = FakeConsumer()
        consumer.notices = [KafkaNotice("log", 4, 0, "CONFWARN", "early", False)]
        async with world(consumer) as made:
            assert [notice.text for notice in made.notices] == ["early"]

    run(work)


def test_an_answer_with_an_error_for_a_commit_is_no_place_to_begin():
    async def work() -> None:
        consumer = FakeConsumer()
        consumer.has_committed(IN_0, 70)
        consumer.errors["committed"] = UNSTABLE_OFFSET_COMMIT
        async with world(consumer, "latest"):
            consumer.rebalance("assign", IN_0)
            await until(lambda: consumer.questions.count("committed") > 1, "it asked again")
            assert consumer.assigns == []
            consumer.errors = {}
            await until(lambda: consumer.assigns, "it is assigned")
            assert consumer.assigns == [[(*IN_0, 70)]] and consumer.stored == []

    run(work)


def test_latest_is_not_applied_while_nobody_says_whether_the_topic_is_known():
    async def work() -> None:
        consumer = FakeConsumer()
        consumer.group_offsets[IN_1] = PartitionOffset(*IN_1, 70)
        consumer.errors["describe_topics"] = NOT_LEADER
        async with world(consumer, "latest"):
            consumer.rebalance("assign", IN_0)
            await until(lambda: consumer.questions.count("describe_topics") > 1, "it asked again")
            consumer.errors = {}
            await until(lambda: consumer.assigns, "it is assigned")
            assert consumer.assigns == [[(*IN_0, 0)]], "a partition that was added to a known topic begins at its start"

    run(work)


def test_the_start_of_a_partition_without_a_commit_is_committed_at_once():
    async def work() -> None:
        consumer = FakeConsumer()
        consumer.group_offsets[OTHER_0] = PartitionOffset(*OTHER_0, 70)
        async with world(consumer, "latest"):
            consumer.rebalance("assign", IN_0, OTHER_0)
            await until(lambda: consumer.assigns, "they are assigned")
            assert consumer.commits == consumer.stored == [(*IN_0, 1000, -1, b"")]

    run(work)


def test_a_revoke_of_what_could_not_be_assigned_yet_is_answered_and_the_rest_is_assigned():
    async def work() -> None:
        consumer = FakeConsumer()
        consumer.silent = True
        async with world(consumer) as made:
            consumer.rebalance("assign", IN_0, OTHER_0)
            await until(lambda: consumer.questions, "it asks where to begin")
            consumer.rebalance("revoke", OTHER_0, lost=True)  # the topic was deleted
            await until(lambda: consumer.owes == "", "the revoke is answered")
            consumer.silent = False
            await until(lambda: made.ledger.partitions() == [IN_0], "the other topic is read")
            assert consumer.assigns == [[(*IN_0, 0)]] and made.holds == 0

    run(work)


def test_a_position_that_was_deleted_is_left_once_and_the_start_is_committed():
    async def work() -> None:
        consumer = FakeConsumer()
        consumer.group_offsets[IN_0] = PartitionOffset(*IN_0, 500)
        async with world(consumer) as made:
            consumer.rebalance("assign", IN_0)
            await until(made.ledger.partitions, "it is assigned")
            made.books.received("in", 10)
            made.ledger.open(1, [LedgerRun(*IN_0, 500, 509, 10, -1)])
            consumer.limits[IN_0] = (600, 1000)
            consumer.record_errors = [out_of_range(*IN_0), out_of_range(*IN_0)]
            await until(lambda: consumer.commits, "it is read again")
            assert consumer.assigns == [[(*IN_0, 500)], [(*IN_0, 600)]]
            assert consumer.commits == [(*IN_0, 600, -1, b"")]
            assert made.source.missed == 100 and made.ledger.finish(1) == [False]
            assert made.books.account("in").abandoned == 10 and made.books.balances()

    run(work)


def test_an_error_of_a_partition_that_was_given_back_harms_nobody():
    async def work() -> None:
        consumer = FakeConsumer()
        async with world(consumer) as made:
            consumer.rebalance("assign", IN_0, IN_1)
            await until(made.ledger.partitions, "it is assigned")
            made.source._on_record_error(out_of_range(*OTHER_0))
            made.source._on_record_error(out_of_range(*IN_1))
            made.source._assignment.forget([IN_1], GIVEN_BACK, "given_back")
            consumer.record_errors = [out_of_range(*IN_0)]
            await until(lambda: len(consumer.assigns) == 2, "what is still there is read again")
            assert made.ledger.partitions() == [IN_0]

    run(work)


def test_a_partition_is_not_read_again_while_the_group_waits_for_an_answer():
    async def work() -> None:
        consumer = FakeConsumer()
        async with world(consumer) as made:
            consumer.rebalance("assign", IN_0, IN_1)
            await until(made.ledger.partitions, "it is assigned")
            answered = []
            unassign = consumer.unassign
            consumer.unassign = lambda keys, **more: (
                answered.append((list(keys), consumer.owes)),
                unassign(keys, **more),
            )

            def revoke_once(question: str) -> None:
                consumer.on_question = lambda question: None
                consumer.rebalance("revoke", IN_1)

            consumer.on_question = revoke_once  # while the start of the log is being asked for
            made.source._on_record_error(out_of_range(*IN_0))
            await until(lambda: len(answered) == 2, "both are done")
            assert answered == [([IN_1], "revoke"), ([IN_0], "")]

    run(work)


def test_eager_partitions_that_were_never_committed_stay_where_they_stand():
    async def work() -> None:
        consumer = FakeConsumer()
        consumer.rebalance_protocol = "EAGER"
        async with world(consumer) as made:
            consumer.rebalance("assign", IN_0, IN_1)
            await until(made.ledger.partitions, "it is assigned")
            consumer.record_errors = [out_of_range(*IN_0)]
            await until(lambda: len(consumer.assigns) == 2, "it is read again")
            assert consumer.assigns[1] == [(*IN_0, 0), (*IN_1, 0)]

    run(work)


def test_a_commit_of_the_old_log_never_carries_the_id_of_the_new_one():
    async def work() -> None:
        consumer = FakeConsumer()
        consumer.ids["in"] = "old"
        async with world(consumer) as made:
            consumer.rebalance("assign", IN_0)
            await until(lambda: made.source._topic_ids.known, "the id is known")
            consumer.ids["in"] = "new"
            consumer.errors["list_offsets"] = NOT_LEADER
            following = asyncio.create_task(made.source._check_topic_ids({"in"}))
            asked_count = consumer.questions.count("list_offsets")
            await until(lambda: consumer.questions.count("list_offsets") > asked_count, "the start is asked for")
            made.ledger.open(1, [LedgerRun(*IN_0, 0, 9, 10, -1)])
            made.ledger.finish(1)
            made.source.store()
            assert consumer.stored[-1] == (*IN_0, 10, -1, b"topic_id=old")
            consumer.errors = {}
            await following
            assert consumer.commits[-1] == (*IN_0, 0, -1, b"topic_id=new")
            assert consumer.assigns[-1] == [(*IN_0, 0)]

    run(work)


def test_a_commit_that_was_made_under_another_topic_id_is_not_believed():
    async def work() -> None:
        consumer = FakeConsumer()
        consumer.ids["in"] = "new"
        consumer.group_offsets[IN_0] = PartitionOffset(*IN_0, 70, -1, b"topic_id=old")
        consumer.group_offsets[IN_1] = PartitionOffset(*IN_1, 80, -1, b"topic_id=new")
        async with world(consumer) as made:
            consumer.rebalance("assign", IN_0, IN_1)
            await until(lambda: len(consumer.assigns) == 2, "one is read again")
            assert consumer.assigns == [[(*IN_0, 70), (*IN_1, 80)], [(*IN_0, 0)]]
            assert made.ledger.next_offset(*IN_1) == 80

    run(work)


def test_a_topic_that_was_deleted_is_no_topic_that_was_recreated():
    async def work() -> None:
        consumer = FakeConsumer()
        consumer.ids["in"] = "old"
        async with world(consumer) as made:
            consumer.rebalance("assign", IN_0)
            await until(lambda: made.source._topic_ids.known, "the id is known")
            consumer.ids["in"], consumer.errors["describe_topics"] = "AAAAAAAAAAAAAAAAAAAAAA", 3
            await made.source._check_topic_ids({"in"})
            assert len(consumer.assigns) == 1 and made.source._topic_ids.known == {"in": "old"}

    run(work)
