"""The Kafka sink with producers that report what they are told to: how often it renews them, and what is sent again."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable

import pytest

from ingestd._librdkafka import ErrorCode, KafkaNotice, Refusal
from ingestd.pipeline.sinks import kafka as kafka_module
from ingestd.pipeline.sinks.kafka import KafkaSink
from tests.support.harness import LogLines, until
from tests.support.runtime import runtime_for_tests

FATAL, INVALID_RECORD, PURGED_IN_FLIGHT = ErrorCode.FATAL, ErrorCode.INVALID_RECORD, ErrorCode.PURGE_INFLIGHT
FATAL_NOTICE = KafkaNotice("error", 3, FATAL, "_FATAL", "made by the test", True)


class FakeBatch:
    """As much of a batch as the sink looks at: some sends, each waiting, pending, failed with a code, or done."""

    def __init__(self, batch_id: int, send_count: int = 3) -> None:
        self.batch_id, self.send_count = batch_id, send_count
        self.states: list[str | int] = ["waiting"] * send_count
        self.dead: list[int] = []

    @property
    def sends_waiting(self) -> bool:
        return "waiting" in self.states

    @property
    def sends_pending(self) -> int:
        return self.states.count("pending")

    @property
    def sends_failed(self) -> int:
        return sum(isinstance(state, int) for state in self.states)

    taken_at_s = 0.0

    def take_sent_counts(self) -> list[tuple[int, int]]:
        return []

    def mark_dead(self, record_index: int) -> bool:
        self.dead.append(record_index)
        return True

    def report(self, *codes: int) -> None:
        """0: acknowledged."""
        self.states = [code or "done" for code in codes]


def refusals(batch: FakeBatch) -> list[Refusal]:
    return [Refusal(n, n, 0, code, False, False) for n, code in enumerate(batch.states) if isinstance(code, int)]


def rearm(batch: FakeBatch, send_index: int, *dead_letter: object) -> None:
    batch.states[send_index] = "waiting"


class FakeProducer:
    """`sent` are the batches that it took; `report` makes the next `serve` give them back."""

    def __init__(self, alone: bool) -> None:
        self.alone = alone
        self.main_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.queue_length = self.own_delivered = 0
        self.sent: list[FakeBatch] = []
        self.reports: tuple[list[FakeBatch], list[KafkaNotice]] = ([], [])
        self.fatal: tuple[int, str] | None = None
        self.purged = self.destroyed = False

    def send_many(self, batch: FakeBatch) -> bool:
        batch.states = ["pending" if state == "waiting" else state for state in batch.states]
        self.sent.append(batch)
        return True

    def report(self, batches: list[FakeBatch], *notices: KafkaNotice) -> None:
        self.reports = (batches, list(notices))
        os.eventfd_write(self.main_fd, 1)

    def serve(self) -> tuple[list[FakeBatch], list[KafkaNotice]]:
        given, self.reports = self.reports, ([], [])
        return given

    def fatal_error(self) -> tuple[int, str] | None:
        return self.fatal

    def purge(self) -> None:
        self.purged = True

    def destroy(self) -> None:
        self.destroyed = True


class World:
    """A sink; `made` are its producers, oldest first."""

    def __init__(self) -> None:
        self.made: list[FakeProducer] = []
        self.done: list[int] = []
        self.lines = LogLines()
        log = logging.getLogger("test.kafka_sink")
        log.handlers[:], log.propagate = [self.lines], False
        done = lambda batch: self.done.append(batch.batch_id)  # noqa: E731
        self.sink = KafkaSink(
            make_producer=self._make,
            on_done=done,
            on_notice=lambda notice: None,
            runtime=runtime_for_tests(log),
        )

    def _make(self, alone: bool) -> FakeProducer:
        self.made.append(FakeProducer(alone))
        return self.made[-1]

    def submit(self, count: int) -> list[FakeBatch]:
        batches = [FakeBatch(number) for number in range(1, count + 1)]
        for batch in batches:
            self.sink.submit(batch)  # type: ignore[arg-type]
        return batches

    async def turn(self) -> None:
        """What is ready on the loop, and what that makes ready."""
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def fake_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_module, "refusals", refusals)
    monkeypatch.setattr(kafka_module, "rearm", rearm)
    monkeypatch.setattr(kafka_module, "rearm_as_dead_letter", rearm)


def run(work: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        world = World()
        try:
            await work(world)
        finally:
            world.sink.close()
            for producer in world.made:
                os.close(producer.main_fd)

    asyncio.run(asyncio.wait_for(whole(), 30))


@pytest.mark.parametrize("code", [FATAL, PURGED_IN_FLIGHT])
def test_one_fatal_error_renews_the_producer_once_however_it_is_told(code: int) -> None:
    """Its reports and its notice may come together. Renewed twice, what went out again would be doubled."""

    async def work(world: World) -> None:
        first, second = world.submit(2)
        (old,) = world.made
        old.fatal = (45, "made by the test")
        first.report(code, code, code)
        second.report(code, code, code)
        old.report([first, second], FATAL_NOTICE)
        await until(lambda: len(world.made) == 2, "it is renewed")
        await world.turn()
        old_one, new = world.made
        assert old_one.purged and new.sent == [first, second] and not new.purged
        assert world.sink.was_fatal == 1 and len(world.made) == 2
        await until(lambda: old_one.destroyed, "the old one goes")
        for batch in new.sent:
            batch.report(0, 0, 0)
        new.report([first, second])
        await until(lambda: world.done == [1, 2], "both are done")

    run(work)


def test_it_is_renewed_only_when_everything_was_taken_back() -> None:
    async def work(world: World) -> None:
        (batch,) = world.submit(1)
        (old,) = world.made
        old.queue_length = 3
        old.report([], FATAL_NOTICE)
        await until(lambda: old.purged, "it takes back")
        await world.turn()
        assert len(world.made) == 1
        old.queue_length = 0
        batch.report(PURGED_IN_FLIGHT, 0, PURGED_IN_FLIGHT)
        old.report([batch])
        await until(lambda: len(world.made) == 2, "it is renewed")
        assert batch.states == ["pending", "done", "pending"], "what was acknowledged is not sent again"

    run(work)


def test_a_fatal_error_of_the_producer_of_single_records_renews_that_one_too() -> None:
    """Left as it is, it would refuse whatever it is given for ever, and each refusal would renew the other."""

    async def work(world: World) -> None:
        (batch,) = world.submit(1)
        batch.report(INVALID_RECORD, INVALID_RECORD, INVALID_RECORD)
        world.made[0].report([batch])
        await until(lambda: len(world.made) == 2 and world.made[1].sent, "its records are sent alone")
        main, alone = world.made
        alone.fatal = (45, "made by the test")
        batch.report(FATAL, FATAL, FATAL)
        alone.report([batch], FATAL_NOTICE)
        await until(lambda: len(world.made) == 3, "it is renewed")
        await world.turn()
        await until(lambda: main.destroyed and alone.destroyed, "both go")
        assert world.sink.was_fatal == 1 and world.made[2].sent == [batch] and not world.made[2].alone

    run(work)


def test_records_that_went_out_together_again_are_tried_alone_again_before_one_is_a_dead_letter() -> None:
    """After a renewal a refusal is again one of a whole request: the good records in it are not to be dead letters."""

    async def work(world: World) -> None:
        (batch,) = world.submit(1)
        batch.report(INVALID_RECORD, INVALID_RECORD, INVALID_RECORD)
        world.made[0].report([batch])
        await until(lambda: len(world.made) == 2 and world.made[1].sent, "its records are sent alone")
        batch.report(FATAL, FATAL, FATAL)
        world.made[1].report([batch], FATAL_NOTICE)
        await until(lambda: len(world.made) == 3, "it is renewed")
        batch.report(INVALID_RECORD, INVALID_RECORD, INVALID_RECORD)
        world.made[2].report([batch])
        await until(lambda: len(world.made) == 4 and world.made[3].sent, "its records are sent alone again")
        assert world.made[3].alone and batch.dead == []
        batch.report(0, INVALID_RECORD, 0)
        world.made[3].report([batch])
        await until(lambda: batch.dead == [1], "the bad one alone is dead")

    run(work)


def test_a_closed_sink_touches_no_producer_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer of a batch that is to be sent again may come after the handles were destroyed, which would be a crash."""
    # The batch is still waiting when the test looks, however busy the machine is.
    monkeypatch.setattr(kafka_module, "delay_s", lambda *args: 3600.0)

    async def work(world: World) -> None:
        (batch,) = world.submit(1)
        (producer,) = world.made
        batch.report(29, 29, 29)  # TOPIC_AUTHORIZATION_FAILED
        producer.report([batch])
        await until(lambda: batch.sends_waiting, "it is to be sent again")
        assert world.sink.close() == [producer]
        sent = len(producer.sent)
        world.sink._send_again(batch, batch.batch_id)  # type: ignore[arg-type]
        world.sink._enqueue_alone(batch, batch.batch_id)  # type: ignore[arg-type]
        world.sink._serve(producer)  # type: ignore[arg-type]
        assert len(producer.sent) == sent

    run(work)
