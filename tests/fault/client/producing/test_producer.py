"""The producer against the mock cluster: what stands in the topic, a full queue, a dead broker, the end."""

import gc
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ingestd._librdkafka import MockCluster
from ingestd.client import (
    BatchFailed,
    DeliveryFailed,
    Event,
    InvalidEvent,
    Producer,
    ProducerClosed,
    PublishError,
    QueueFull,
    bind,
)
from tests.support.harness import LogLines, mock_cluster, read_all
from tests.support.wait import MULTIPLIER, wait_until

TOPIC = "observability.events"
PRODUCE, TOPIC_AUTHORIZATION_FAILED, OUT_OF_ORDER_SEQUENCE_NUMBER = 0, 29, 45
WAIT_S = 30 * MULTIPLIER
QUIET: dict[str, Any] = {"librdkafka": {"log_level": 0}}


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    cluster = mock_cluster()
    yield cluster
    cluster.close()


@pytest.fixture
def lines() -> Iterator[LogLines]:
    handler, logger = LogLines(), logging.getLogger("ingestd.client")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def events(count: int) -> list[Event]:
    common: dict[str, Any] = {"type": "log", "level": "info", "service": "s", "component": "c", "message": "m"}
    return [Event(id=f"e{number}", timestamp="", **common) for number in range(count)]


def delivered(producer: Producer) -> bool:
    try:
        return producer.publish_log("info", "c", "next").result(WAIT_S) is not None
    except DeliveryFailed:
        return False


def test_what_was_published_stands_in_the_topic(cluster: MockCluster):
    with Producer(cluster.bootstraps, TOPIC, "checkout", **QUIET) as producer:
        with bind(correlation_id="c", trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7"):
            future = producer.publish_log("warn", "api", "hello", {"env": "prod"})
        delivery = future.result(WAIT_S)
    assert (delivery.event_id, delivery.topic, delivery.partition, delivery.offset) == (future.event_id, TOPIC, 0, 0)
    (record,) = read_all(cluster, TOPIC, 1)
    event = Event.from_json(record.value())
    assert event.id == delivery.event_id and event.correlation_id == "c" and event.level == "warning"
    assert record.value() == event.to_json()
    assert record.key() == b"4bf92f3577b34da6a3ce929d0e0e4736"
    assert dict(record.headers()) == {
        "event_type": b"log",
        "event_level": b"warning",
        "service": b"checkout",
        "correlation_id": b"c",
        "X-Correlation-ID": b"c",
        "X-Trace-ID": b"4bf92f3577b34da6a3ce929d0e0e4736",
        "X-Span-ID": b"00f067aa0ba902b7",
        "traceparent": b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }


def test_a_trace_is_in_one_partition_in_order():
    cluster = mock_cluster(4)
    try:
        with Producer(cluster.bootstraps, TOPIC, "s", **QUIET) as producer:
            for number in range(40):
                producer.publish_log("info", "c", str(number), trace_id=f"trace-{number % 4}")
        found: dict[str, list[tuple[int, int]]] = {}
        for record in read_all(cluster, TOPIC, 40):
            event = Event.from_json(record.value())
            found.setdefault(event.trace_id or "", []).append((record.partition(), int(event.message)))
        for places in found.values():
            assert len({partition for partition, _ in places}) == 1
            assert [number for _, number in places] == sorted(number for _, number in places)
    finally:
        cluster.close()


def test_a_batch_is_delivered_whole_and_in_order(cluster: MockCluster):
    with Producer(cluster.bootstraps, TOPIC, "s", **QUIET) as producer:
        assert producer.publish_many(events(500)).result(WAIT_S) == 500
        assert producer.publish_many([]).result(WAIT_S) == 0
    assert [Event.from_json(m.value()).id for m in read_all(cluster, TOPIC, 500)] == [f"e{n}" for n in range(500)]


def test_of_a_batch_with_a_wrong_event_nothing_is_sent(cluster: MockCluster):
    with Producer(cluster.bootstraps, TOPIC, "s", **QUIET) as producer:
        wrong = events(5)
        wrong[3].labels = {"env": 7}
        with pytest.raises(InvalidEvent, match=r"events\[3\]: labels\.env: 7"):
            producer.publish_many(wrong)
        assert producer.flush(0) == 0


def test_threads_share_a_producer(cluster: MockCluster):
    count, threads = 300, 6
    with Producer(cluster.bootstraps, TOPIC, "s", **QUIET) as producer:
        futures: list[Any] = []

        def publish(name: str) -> None:
            futures.extend(producer.publish_log("info", name, str(number)) for number in range(count))

        running = [threading.Thread(target=publish, args=(f"t{number}",)) for number in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert len({future.result(WAIT_S).offset for future in futures}) == count * threads


def test_a_single_event_is_told_soon_though_nobody_publishes_more(cluster: MockCluster):
    with Producer(cluster.bootstraps, TOPIC, "s", linger_ms=0, **QUIET) as producer:
        producer.publish_log("info", "c", "warm").result(WAIT_S)
        started_s = time.monotonic()
        for _ in range(20):
            producer.publish_log("info", "c", "x").result(WAIT_S)
        assert (time.monotonic() - started_s) / 20 < 0.5 * MULTIPLIER


def test_a_report_does_not_wait_for_a_thread_that_computes(cluster: MockCluster):
    """Served beside a computing thread, each report would wait 5 ms for the interpreter's lock."""
    with Producer(cluster.bootstraps, TOPIC, "s", **QUIET) as producer:
        producer.publish_log("info", "c", "warm").result(WAIT_S)
        started_s, futures = time.monotonic(), []
        while len(futures) < 3000:
            futures.append(producer.publish_log("info", "c", "x"))
            sum(range(300))
        producer.flush(WAIT_S)
        assert all(future.done() for future in futures)
        assert time.monotonic() - started_s < 3000 * 0.005


def test_a_full_queue_blocks_and_then_raises(cluster: MockCluster):
    cluster.broker_down()
    options = {"queue_events_max": 10, "queue_timeout_s": 0.3, **QUIET}
    producer = Producer(cluster.bootstraps, TOPIC, "s", **options)
    futures = [producer.publish_log("info", "c", "x") for _ in range(10)]
    started_s = time.monotonic()
    with pytest.raises(QueueFull, match="full for 0.3 s: 10 events wait for 127"):
        producer.publish_log("info", "c", "one too many")
    assert time.monotonic() - started_s >= 0.3
    assert producer.try_publish_event(events(1)[0]) is None
    with pytest.raises(QueueFull):
        producer.publish_many(events(3))
    cluster.broker_up()
    assert len([future.result(WAIT_S) for future in futures]) == 10
    # With room again a batch larger than the queue goes through, as publishing serves the reports that make room.
    assert producer.publish_many(events(200)).result(WAIT_S) == 200
    producer.close()


def test_of_a_batch_that_finds_room_for_a_part_the_rest_is_named(cluster: MockCluster):
    cluster.broker_down()
    options = {"queue_events_max": 5, "queue_timeout_s": 0.2, **QUIET}
    producer = Producer(cluster.bootstraps, TOPIC, "s", **options)
    future = producer.publish_many(events(8))
    cluster.broker_up()
    with pytest.raises(BatchFailed, match="3 of 8 events") as caught:
        future.result(WAIT_S)
    assert [Event.from_json(failed.value).id for failed in caught.value.failed] == ["e5", "e6", "e7"]
    assert all(isinstance(failed.error, QueueFull) for failed in caught.value.failed)
    producer.close()


def test_an_event_that_is_not_acknowledged_in_time_fails_and_is_said(cluster: MockCluster, lines: LogLines):
    cluster.broker_down()
    producer = Producer(cluster.bootstraps, TOPIC, "s", delivery_timeout_s=0.5, **QUIET)
    future = producer.publish_log("info", "c", "x")
    with pytest.raises(DeliveryFailed, match=f"event {future.event_id} was not delivered: _MSG_TIMED_OUT"):
        future.result(WAIT_S)
    assert "an event was not delivered" in lines.messages()
    producer.close()


def test_what_kafka_refuses_fails(cluster: MockCluster):
    with Producer(cluster.bootstraps, TOPIC, "s", **QUIET) as producer:
        producer.publish_log("info", "c", "warm").result(WAIT_S)
        cluster.push_errors(PRODUCE, [TOPIC_AUTHORIZATION_FAILED])
        with pytest.raises(DeliveryFailed, match="TOPIC_AUTHORIZATION_FAILED") as caught:
            producer.publish_log("info", "c", "x").result(WAIT_S)
        assert not caught.value.maybe_delivered
        # librdkafka remembers until it has asked for the topic again, and refuses at once.
        wait_until(lambda: delivered(producer), "the next event is delivered")


def test_after_a_fatal_error_a_new_producer_takes_the_next_event(cluster: MockCluster, lines: LogLines):
    with Producer(cluster.bootstraps, TOPIC, "s", **QUIET) as producer:
        producer.publish_log("info", "c", "warm").result(WAIT_S)
        cluster.push_errors(PRODUCE, [OUT_OF_ORDER_SEQUENCE_NUMBER])
        future = producer.publish_log("info", "c", "x")
        failure = future.exception(WAIT_S)
        assert failure is None or isinstance(failure, DeliveryFailed)
        if failure is not None:
            wait_until(lambda: "fatal error of librdkafka, the producer is replaced" in lines.messages(), "it is said")
        wait_until(lambda: delivered(producer), "the next event is delivered")


def test_close_gives_up_what_is_not_acknowledged_and_says_how_many(cluster: MockCluster):
    cluster.broker_down()
    producer = Producer(cluster.bootstraps, TOPIC, "s", **QUIET)
    futures = [producer.publish_log("info", "c", "x") for _ in range(3)]
    with pytest.raises(PublishError, match="3 events were not acknowledged"):
        producer.close(0.2)
    for future in futures:
        with pytest.raises(DeliveryFailed, match="_PURGE"):
            future.result(0)
    producer.close()
    for call in (lambda: producer.publish_log("info", "c", "x"), lambda: producer.publish_many(events(1))):
        with pytest.raises(ProducerClosed):
            call()
    assert producer.flush(1) == 0 and producer.waiting_count == 0


def test_an_error_of_the_block_is_not_hidden_by_that_of_close(cluster: MockCluster):
    cluster.broker_down()
    with pytest.raises(KeyError), Producer(cluster.bootstraps, TOPIC, "s", close_timeout_s=0.1, **QUIET) as producer:
        producer.publish_log("info", "c", "x")
        raise KeyError


def test_a_producer_that_nobody_closed_sends_what_it_was_given(cluster: MockCluster):
    producer = Producer(cluster.bootstraps, TOPIC, "s", linger_ms=5000, **QUIET)
    producer.publish_log("info", "c", "x")
    del producer
    gc.collect()
    assert len(read_all(cluster, TOPIC, 1)) == 1


def test_a_callback_may_publish_and_may_not_wait(cluster: MockCluster):
    with Producer(cluster.bootstraps, TOPIC, "s", linger_ms=0, **QUIET) as producer:
        seen: list[Any] = []

        def again(future: Any) -> None:
            try:
                producer.flush()
            except RuntimeError as error:
                seen.append(str(error))
            seen.extend(producer.publish_log("info", "c", "again") for _ in range(128))

        producer.publish_log("info", "c", "first").add_done_callback(again)
        wait_until(lambda: len(seen) == 1 + 128, "the callback is through")
        assert seen[0] == "a callback of a delivery can't wait for deliveries"
        assert all(future.result(WAIT_S) for future in seen[1:])


def test_no_thread_is_left_after_close(cluster: MockCluster):
    before = threading.active_count()
    for _ in range(3):
        with Producer(cluster.bootstraps, TOPIC, "s", **QUIET) as producer:
            producer.publish_log("info", "c", "x")
    assert threading.active_count() == before


def test_a_token_is_asked_of_the_program_and_a_failure_is_said(lines: LogLines):
    asked: list[str] = []

    def refresh(config: str) -> tuple[str, float]:
        asked.append(config)
        if len(asked) == 1:
            raise RuntimeError("no token today")
        return "token", time.time() + 3600

    sasl = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.config": "scope=x",
    }
    options = {**sasl, "oauth_cb": refresh, "log_level": 0}
    with Producer("127.0.0.1:1", TOPIC, "s", librdkafka=options):
        wait_until(lambda: asked == ["scope=x"], "the program is asked for a token", 30)
        wait_until(lambda: "a delivery callback raised an exception" in lines.messages(), "its failure is said", 30)


def test_a_callback_can_not_wait_for_room(cluster: MockCluster):
    with Producer(cluster.bootstraps, TOPIC, "s", queue_events_max=1, linger_ms=0, **QUIET) as producer:
        seen: list[Any] = []

        def publish_two(future: Any) -> None:
            try:
                seen.extend(producer.publish_log("info", "c", "again") for _ in range(3))
            except QueueFull as error:
                seen.append(str(error))

        producer.publish_log("info", "c", "first").add_done_callback(publish_two)
        wait_until(lambda: seen and isinstance(seen[-1], str), "the callback is through", 30)
    assert "a callback of a delivery can't wait for room" in seen[-1]


def test_what_is_published_while_another_thread_closes_is_told_or_refused(cluster: MockCluster):
    futures: list[Any] = []

    def publish(producer: Producer) -> None:
        while True:
            try:
                futures.append(producer.publish_log("info", "c", "x"))
                futures.append(producer.publish_many(events(3)))
            except ProducerClosed:
                return

    for _ in range(15):
        producer = Producer(cluster.bootstraps, TOPIC, "s", linger_ms=0, **QUIET)
        running = [threading.Thread(target=publish, args=(producer,)) for _ in range(3)]
        for thread in running:
            thread.start()
        wait_until(lambda: len(futures) > 10, "some are published")
        try:
            producer.close(0.05)
        except PublishError:
            pass  # some were given up: their futures say so
        for thread in running:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        assert all(future.done() for future in futures)
        futures.clear()
