"""The producer for asyncio against the mock cluster: what is awaited, what is sent, a loop that is never blocked."""

import asyncio
import time
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
import uvloop

from ingestd._librdkafka import MockCluster
from ingestd.client import (
    AsyncProducer,
    BatchFailed,
    DeliveryFailed,
    Event,
    InvalidEvent,
    ProducerClosed,
    PublishError,
    QueueFull,
    bind,
)
from tests.support.harness import mock_cluster, read_all
from tests.support.wait import MULTIPLIER

TOPIC = "observability.events"
WAIT_S = 30 * MULTIPLIER
QUIET: dict[str, Any] = {"librdkafka": {"log_level": 0}}


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Any:
    def in_loop(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(asyncio.wait_for(work, 2 * WAIT_S))

    return in_loop


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    cluster = mock_cluster()
    yield cluster
    cluster.close()


def events(count: int) -> list[Event]:
    common: dict[str, Any] = {"type": "log", "level": "info", "service": "s", "component": "c", "message": "m"}
    return [Event(id=f"e{number}", timestamp="", **common) for number in range(count)]


def test_publish_returns_when_kafka_has_it_and_send_at_once(cluster: MockCluster, run: Any):
    async def work() -> set[str]:
        async with AsyncProducer(cluster.bootstraps, TOPIC, "s", linger_ms=200, **QUIET) as producer:
            ids = {(await producer.publish_log("info", "c", "published")).event_id}
            futures = [
                await producer.send_log("info", "c", "sent"),
                await producer.send_metric("c", "cpu", 0.5),
                await producer.send_alert("a", "disk", "full"),
                await producer.send_trace("t", "s", "op", 0.1),
                await producer.send_health("c", "healthy"),
                await producer.send_error("c", ValueError("x")),
                await producer.send_event(events(1)[0]),
            ]
            assert not any(future.done() for future in futures)
            ids |= {delivery.event_id for delivery in await asyncio.gather(*futures)}
            assert await producer.publish_many(events(700)) == 700
            return ids

    ids = run(work())
    found = [Event.from_json(m.value()) for m in read_all(cluster, TOPIC, 708)]
    assert {event.id for event in found} == ids | {f"e{n}" for n in range(700)}
    assert {str(event.type) for event in found} == {"log", "metric", "alert", "trace", "health"}


def test_tasks_publish_at_once_each_in_its_own_context(cluster: MockCluster, run: Any):
    async def request(producer: AsyncProducer, number: int) -> None:
        with bind(correlation_id=f"c{number}"):
            await producer.publish_log("info", "c", f"{number}")

    async def work() -> None:
        async with AsyncProducer(cluster.bootstraps, TOPIC, "s", **QUIET) as producer:
            await asyncio.gather(*(request(producer, number) for number in range(100)))

    run(work())
    found = [Event.from_json(m.value()) for m in read_all(cluster, TOPIC, 100)]
    assert all(event.correlation_id == f"c{event.message}" for event in found)


def test_a_full_queue_waits_without_blocking_the_loop_and_then_raises(cluster: MockCluster, run: Any):
    async def work() -> None:
        options = {"queue_events_max": 5, "queue_timeout_s": 0.3, **QUIET}
        producer = AsyncProducer(cluster.bootstraps, TOPIC, "s", **options)
        cluster.broker_down()
        futures = [await producer.send_log("info", "c", "x") for _ in range(5)]
        turns, full = 0, asyncio.ensure_future(producer.send_log("info", "c", "one too many"))
        started_s = time.monotonic()
        while not full.done():
            await asyncio.sleep(0.005)
            turns += 1
        assert turns > 2 and time.monotonic() - started_s >= 0.3
        with pytest.raises(QueueFull):
            await full
        with pytest.raises(QueueFull):
            await producer.publish_many(events(3))
        cluster.broker_up()
        await asyncio.gather(*futures)
        assert await producer.publish_many(events(100)) == 100
        await producer.close()

    run(work())


def test_of_a_batch_that_finds_room_for_a_part_the_rest_is_named(cluster: MockCluster, run: Any):
    async def work() -> None:
        options = {"queue_events_max": 5, "queue_timeout_s": 0.2, **QUIET}
        producer = AsyncProducer(cluster.bootstraps, TOPIC, "s", **options)
        cluster.broker_down()
        future = await producer.send_many(events(8))
        cluster.broker_up()
        with pytest.raises(BatchFailed, match="3 of 8 events"):
            await future
        await producer.close()

    run(work())


def test_errors_are_raised_where_they_are_awaited(cluster: MockCluster, run: Any):
    async def work() -> None:
        producer = AsyncProducer(cluster.bootstraps, TOPIC, "s", delivery_timeout_s=0.5, **QUIET)
        with pytest.raises(InvalidEvent, match="level"):
            producer.publish_log("loud", "c", "x")  # at the call
        with pytest.raises(InvalidEvent, match=r"events\[0\]: component"):
            await producer.publish_many([Event(**{**vars_of(events(1)[0]), "component": 5})])
        cluster.broker_down()
        with pytest.raises(DeliveryFailed, match="_MSG_TIMED_OUT"):
            await producer.publish_log("info", "c", "x")
        future = await producer.send_log("info", "c", "x")
        assert await producer.flush(0.05) == 1
        with pytest.raises(PublishError, match="1 events were not acknowledged"):
            await producer.close(0.05)
        with pytest.raises(DeliveryFailed):
            await future
        with pytest.raises(ProducerClosed):
            await producer.publish_log("info", "c", "x")

    run(work())


def vars_of(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def test_a_cancelled_task_leaves_the_others_alone(cluster: MockCluster, run: Any):
    async def work() -> None:
        async with AsyncProducer(cluster.bootstraps, TOPIC, "s", linger_ms=100, **QUIET) as producer:
            first = asyncio.ensure_future(producer.publish_log("info", "c", "x"))
            second = asyncio.ensure_future(producer.publish_log("info", "c", "y"))
            await asyncio.sleep(0)
            first.cancel()
            assert (await second).offset == 1
            assert first.cancelled()

    run(work())


def test_one_producer_serves_one_loop_after_the_other(cluster: MockCluster):
    producer = AsyncProducer(cluster.bootstraps, TOPIC, "s", **QUIET)

    async def work() -> int:
        return (await producer.publish_log("info", "c", "x")).offset

    assert [asyncio.run(work()), asyncio.run(work())] == [0, 1]
    asyncio.run(producer.close())
