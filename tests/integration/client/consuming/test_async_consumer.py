"""The client's AsyncConsumer on the mock cluster: what Consumer promises, on a loop, and across cancellation."""

import asyncio
from collections.abc import Iterator

import pytest

from ingestd._librdkafka import MockCluster
from ingestd.client.consuming.async_consumer import AsyncConsumer
from ingestd.client.consuming.dead_letters import DeadLetterFailed
from ingestd.client.consuming.filters import EventFilter
from ingestd.client.events import Event
from tests.support.harness import committed, event, publish, read_all

PRODUCE, UNKNOWN_TOPIC = 0, 3


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockCluster]:
    made = MockCluster(1)
    yield made
    made.close()


def consumer(cluster: MockCluster, topic: str, **options) -> AsyncConsumer:
    settings = {
        "retries": 1,
        "retry_first_s": 0.01,
        "commit_interval_s": 0.1,
        "dead_letter_topic": f"dead-{topic}",
        "kafka_options": {"session.timeout.ms": 600, "heartbeat.interval.ms": 100},
    }
    return AsyncConsumer(cluster.bootstraps, topic, "g", **(settings | options))


async def rest(cluster: MockCluster, topic: str) -> list[str]:
    """The ids that another member of the group would still be given. One marker ends the wait."""
    await asyncio.to_thread(publish, cluster, [event("marker")], topic)
    seen: list[str] = []
    async with consumer(cluster, topic) as later:
        async for found in later:
            seen.append(found.id)
            if found.id == "marker":
                later.stop()
    return seen[:-1]


def run(work) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


def test_handlers_may_be_coroutines_or_not_and_failures_are_dead_letters(cluster: MockCluster):
    publish(cluster, [event("a"), b"no json", event("bad"), event("b"), event("c", type="metric")], "mixed")
    seen: list[str] = []

    async def main() -> None:
        async with consumer(cluster, "mixed") as first:

            async def handle(found: Event) -> None:
                await asyncio.sleep(0)
                seen.append(found.id)
                if found.id == "bad":
                    raise ValueError("broken")
                if found.id == "b":
                    first.stop()

            await first.consume_logs(handle)
        assert seen == ["a", "bad", "bad", "b"]
        assert committed(cluster, "mixed", "g") == 4
        async with consumer(cluster, "mixed", idle_stop_s=0.3, dead_letter_topic="x") as later:
            await later.consume_with_filter(seen.append, EventFilter(types="trace"))

    run(main())
    values = {message.value() for message in read_all(cluster, "dead-mixed", 2)}
    assert values == {b"no json", event("bad")} and seen[4:] == []


def test_what_was_in_hand_when_it_was_cancelled_comes_again(cluster: MockCluster):
    publish(cluster, [event(f"e{number}") for number in range(200)], "cut")
    done: list[str] = []

    async def main() -> None:
        async with consumer(cluster, "cut") as first:
            for goal in (1, 60, 120):
                reached = asyncio.Event()

                async def handle(found: Event, goal: int = goal, reached: asyncio.Event = reached) -> None:
                    if len(done) == goal and not reached.is_set():
                        reached.set()
                        await asyncio.sleep(60)
                    done.append(found.id)

                task = asyncio.create_task(first.consume_events(handle))
                await reached.wait()
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()
            # Cancelled while it waits for Kafka: nothing that the thread takes meanwhile is lost.
            for _ in range(5):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await first.consume_events(lambda found: done.append(found.id))
        assert done == [f"e{number}" for number in range(len(done))] and len(done) >= 120
        done.extend(await rest(cluster, "cut"))

    run(main())
    assert done == [f"e{number}" for number in range(200)]


def test_a_break_leaves_the_event_undone_and_a_stop_ends_a_back_off(cluster: MockCluster):
    publish(cluster, [event(f"e{number}") for number in range(3)], "left")

    async def main() -> None:
        async with consumer(cluster, "left", retry_first_s=30, retry_max_s=30) as first:
            async for found in first:
                if found.id == "e1":
                    break

            def fail(found: Event) -> None:
                asyncio.get_running_loop().call_later(0.05, first.stop)
                raise ValueError(found.id)

            await asyncio.wait_for(first.consume_events(fail), 10)
        assert committed(cluster, "left", "g") == 1

    run(main())


def test_a_dead_letter_that_is_not_acknowledged_is_said_and_nothing_is_committed(cluster: MockCluster):
    publish(cluster, [b"no json"], "stuck")
    cluster.push_errors(PRODUCE, [UNKNOWN_TOPIC] * 60)

    async def main() -> None:
        async with consumer(cluster, "stuck", dead_letter_timeout_s=0.3) as first:
            with pytest.raises(DeadLetterFailed):
                await first.consume_events(print)
        cluster.clear_errors(PRODUCE)
        assert committed(cluster, "stuck", "g") is None
        assert await rest(cluster, "stuck") == []

    run(main())
    assert [message.value() for message in read_all(cluster, "dead-stuck", 1)] == [b"no json"]
