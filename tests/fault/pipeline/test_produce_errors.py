"""What Kafka refuses is sent again, or becomes a dead letter. Nothing is forgotten, and no offset goes ahead of it."""

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from ingestd._librdkafka import MockCluster
from ingestd.pipeline.sinks import kafka as kafka_sink
from tests.support.daemon_process import DEAD_LETTER, INPUT
from tests.support.harness import (
    Harness,
    event,
    hush,
    make_config,
    mock_cluster,
    publish,
    publish_held,
    read_all,
    settled,
    until,
)
from tests.support.redis_node import RedisNode

PRODUCE, INIT_PRODUCER_ID = 0, 22  # the Kafka protocol's numbers of the requests
NOT_ENOUGH_REPLICAS, INVALID_TIMESTAMP, MSG_SIZE_TOO_LARGE, TOPIC_AUTHORIZATION_FAILED = 19, 32, 10, 29
OUT_OF_ORDER_SEQUENCE_NUMBER, CLUSTER_AUTHORIZATION_FAILED = 45, 31


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    made = mock_cluster()
    yield made
    made.close()


def committed(app) -> dict[int, int]:
    return {key[1]: offset for key, offset in app.source.committed.items()}


def run(work) -> None:
    uvloop.run(asyncio.wait_for(work, 90))


def test_retriable_errors_of_the_broker_cost_nothing(cluster: MockCluster, redis_node: RedisNode):
    async def work() -> None:
        harness = Harness(make_config(cluster, redis_node.url))
        async with harness as app:
            await settled(app)
            hush(app)
            await publish_held(
                app,
                cluster,
                [event(f"e{n}") for n in range(50)],
                lambda: cluster.push_errors(PRODUCE, [NOT_ENOUGH_REPLICAS] * 5),
            )
            await until(lambda: app.books.account(INPUT).delivered == 50, "all are delivered")
            await until(lambda: committed(app) == {0: 50}, "all are committed")
        assert harness.code == 0
        assert len(read_all(cluster, "observability.logs", 50)) == 50

    run(work())


def test_a_record_that_rejects_its_whole_batch_alone_becomes_a_dead_letter(cluster: MockCluster, redis_node: RedisNode):
    async def work() -> None:
        harness = Harness(make_config(cluster, redis_node.url))
        async with harness as app:
            await settled(app)
            hush(app)
            # The first request holds all ten; then each is sent alone, and one of those is refused again.
            await publish_held(
                app,
                cluster,
                [event(f"e{n}") for n in range(10)],
                lambda: cluster.push_errors(PRODUCE, [INVALID_TIMESTAMP, 0, INVALID_TIMESTAMP]),
            )
            await until(lambda: app.books.account(INPUT).delivered == 9, "nine are delivered")
            await until(lambda: committed(app) == {0: 10}, "all are committed")
            assert app.books.account(INPUT).dead_lettered == 1
            assert app.books.balances()
        assert harness.code == 0
        (dead,) = read_all(cluster, DEAD_LETTER, 1)
        headers = dict(dead.headers())
        assert headers["__ingestd.errors.class"] == b"rejected_by_kafka"
        assert b"INVALID_TIMESTAMP" in headers["__ingestd.errors.message"]
        assert headers["__ingestd.errors.topic"] == INPUT.encode()
        typed = {message.value() for message in read_all(cluster, "observability.logs", 9)}
        assert typed | {dead.value()} == {event(f"e{n}") for n in range(10)}

    run(work())


def test_a_dead_letter_that_is_refused_for_its_size_becomes_a_stub(cluster: MockCluster, redis_node: RedisNode):
    async def work() -> None:
        giant = b'{"id": "' + b"x" * 300_000 + b'"'  # cut JSON
        harness = Harness(make_config(cluster, redis_node.url))
        async with harness as app:
            await settled(app)
            hush(app)
            await publish_held(
                app, cluster, [giant], lambda: cluster.push_errors(PRODUCE, [MSG_SIZE_TOO_LARGE, MSG_SIZE_TOO_LARGE])
            )
            await until(lambda: app.books.account(INPUT).dead_lettered == 1, "it is dead-lettered")
        assert harness.code == 0
        (stub,) = read_all(cluster, DEAD_LETTER, 1)
        assert stub.value() == giant[:65536]
        assert dict(stub.headers())["__ingestd.errors.size"] == str(len(giant)).encode()
        assert dict(stub.headers())["__ingestd.errors.class"] == b"not_json"

    run(work())


def test_an_event_over_the_producer_s_limit_is_dead_lettered_as_a_stub(cluster: MockCluster, redis_node: RedisNode):
    async def work() -> None:
        giant = event("giant", message="m" * 200_000)
        config = make_config(cluster, redis_node.url, pipeline={"event_bytes_max": 20_000})
        harness = Harness(config)
        async with harness as app:
            await settled(app)
            hush(app)
            publish(cluster, [event("before"), giant, event("after")])
            await until(
                lambda: app.books.account(INPUT).in_flight == 0 and app.books.account(INPUT).received == 3, "done"
            )
            assert app.books.account(INPUT).dead_lettered == 1
        (stub,) = read_all(cluster, DEAD_LETTER, 1)
        assert stub.value() == giant[:65536]
        assert dict(stub.headers())["__ingestd.errors.class"] == b"too_large"

    run(work())


def test_a_refused_topic_is_tried_again_until_it_is_allowed(
    cluster: MockCluster, redis_node: RedisNode, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kafka_sink, "REFUSALS_MIN", 2)

    async def work() -> None:
        harness = Harness(make_config(cluster, redis_node.url))
        async with harness as app:
            await settled(app)
            hush(app)
            await publish_held(
                app,
                cluster,
                [event(f"e{n}") for n in range(5)],
                lambda: cluster.push_errors(PRODUCE, [TOPIC_AUTHORIZATION_FAILED] * 3),
            )
            await until(lambda: "kafka refused records, they are sent again" in harness.lines.messages(), "it is said")
            assert committed(app).get(0, -1) <= 0 and app.kafka.refused_count == 0, "once is no news"
            await until(lambda: app.kafka.refused_count == 1, "it goes on")
            await until(lambda: app.books.account(INPUT).delivered == 5, "all are delivered")
            assert app.kafka.refused_count == 0
        assert harness.code == 0
        assert len(read_all(cluster, "observability.logs", 5)) == 5

    run(work())


def test_after_a_fatal_error_a_new_producer_sends_everything_in_offset_order(
    cluster: MockCluster, redis_node: RedisNode
):
    async def work() -> None:
        harness = Harness(make_config(cluster, redis_node.url, pipeline={"batch_events_max": 10}))
        async with harness as app:
            await settled(app)
            hush(app)
            payloads = [event(f"e{n:03}") for n in range(100)]
            # Refused, and tried again, until it is told otherwise: with a slow broker the moment might be missed.
            await publish_held(app, cluster, payloads, lambda: cluster.push_errors(PRODUCE, [NOT_ENOUGH_REPLICAS] * 64))
            await until(lambda: app.books.account(INPUT).in_flight > 0, "some are in flight")
            app.kafka._producer.provoke_fatal_error(OUT_OF_ORDER_SEQUENCE_NUMBER, "made by the test")
            await until(lambda: app.kafka.was_fatal == 1, "it was noticed")
            cluster.clear_errors(PRODUCE)
            await until(lambda: app.books.account(INPUT).delivered == 100, "all are delivered")
            await until(lambda: committed(app) == {0: 100}, "all are committed")
            assert app.books.balances()
        assert harness.code == 0
        found = [message.value() for message in read_all(cluster, "observability.logs", 100)]
        assert set(found) == {event(f"e{n:03}") for n in range(100)}

    run(work())


def test_no_offset_is_stored_while_kafka_acknowledges_nothing(cluster: MockCluster, redis_node: RedisNode):
    async def work() -> None:
        harness = Harness(make_config(cluster, redis_node.url))
        async with harness as app:
            await settled(app)
            hush(app)
            await publish_held(
                app,
                cluster,
                [event(f"e{n}") for n in range(20)],
                lambda: cluster.push_errors(PRODUCE, [NOT_ENOUGH_REPLICAS] * 60),
            )
            await until(lambda: app.books.account(INPUT).in_flight == 20, "they are in flight")
            await until(lambda: app.redis.waiting_count == 0, "Redis has them")
            assert app.ledger.take_storable() == []
            assert app.books.balances()
            cluster.clear_errors(PRODUCE)
            await until(lambda: committed(app) == {0: 20}, "all are committed")
        assert harness.code == 0

    run(work())


def test_a_dead_letter_with_a_giant_key_becomes_a_stub_without_it(cluster: MockCluster, redis_node: RedisNode):
    async def work() -> None:
        harness = Harness(make_config(cluster, redis_node.url))
        async with harness as app:
            await settled(app)
            hush(app)
            publish(cluster, [b"{"], key=b"k" * 1_200_000)
            publish(cluster, [b"["], key=b"short")
            await until(lambda: app.books.account(INPUT).dead_lettered == 2, "both are dead-lettered")
        assert harness.code == 0
        keys = {message.value(): message.key() for message in read_all(cluster, DEAD_LETTER, 2)}
        assert keys == {b"{": None, b"[": b"short"}

    run(work())


@pytest.mark.parametrize("which", ["_producer", "_alone"])
def test_a_fatal_error_while_records_are_tried_alone_buries_no_good_one(
    cluster: MockCluster, redis_node: RedisNode, which: str
):
    async def work() -> None:
        harness = Harness(make_config(cluster, redis_node.url))
        async with harness as app:
            await settled(app)
            hush(app)
            sink = app.kafka
            enqueue_alone = sink._enqueue_alone

            def enqueue_behind_a_fatal_error(*batch: object) -> None:
                sink._enqueue_alone = enqueue_alone
                sink._alone = sink._alone or sink._start(True)
                getattr(sink, which).provoke_fatal_error(OUT_OF_ORDER_SEQUENCE_NUMBER, "made by the test")
                if which == "_alone":
                    enqueue_alone(*batch)

            sink._enqueue_alone = enqueue_behind_a_fatal_error
            # They are refused together, and together again by the new handle.
            await publish_held(
                app,
                cluster,
                [event(f"e{n}") for n in range(10)],
                lambda: cluster.push_errors(PRODUCE, [INVALID_TIMESTAMP, INVALID_TIMESTAMP]),
            )
            await until(lambda: app.books.account(INPUT).in_flight == 0 < app.books.account(INPUT).received, "all end")
            assert app.books.account(INPUT).dead_lettered == 0 and sink.was_fatal == 1
        assert harness.code == 0
        assert len(read_all(cluster, "observability.logs", 10)) == 10

    run(work())


def test_one_fatal_error_renews_the_producer_once(cluster: MockCluster, redis_node: RedisNode):
    async def work() -> None:
        harness = Harness(make_config(cluster, redis_node.url))
        async with harness as app:
            await settled(app)
            hush(app)
            payloads = [event(f"e{n}") for n in range(20)]
            await publish_held(app, cluster, payloads, lambda: cluster.push_errors(PRODUCE, [NOT_ENOUGH_REPLICAS] * 64))
            await until(lambda: app.books.account(INPUT).in_flight == 20, "they are in flight")
            app.kafka._producer.provoke_fatal_error(OUT_OF_ORDER_SEQUENCE_NUMBER, "made by the test")
            app.kafka._recover()  # as a refused send has it done, before the error itself is served
            cluster.clear_errors(PRODUCE)
            await until(lambda: app.books.account(INPUT).delivered == 20, "all are delivered")
            assert app.kafka.was_fatal == 1
        assert harness.code == 0

    run(work())


def test_a_cluster_that_refuses_every_new_producer_is_asked_with_growing_pauses(
    cluster: MockCluster, redis_node: RedisNode, monkeypatch: pytest.MonkeyPatch
):
    async def work() -> None:
        attempts: list[int] = []
        monkeypatch.setattr(kafka_sink, "delay_s", lambda attempt, random: attempts.append(attempt) or 0.0)
        cluster.push_errors(INIT_PRODUCER_ID, [CLUSTER_AUTHORIZATION_FAILED] * 4)
        harness = Harness(make_config(cluster, redis_node.url))
        async with harness as app:
            await until(lambda: app.source.joined, "it has joined")
            publish(cluster, [event(f"e{n}") for n in range(5)])
            await until(lambda: app.books.account(INPUT).delivered == 5, "all are delivered")
            assert app.kafka.was_fatal == 4 and attempts[:3] == [0, 1, 2]
        assert harness.code == 0

    run(work())
