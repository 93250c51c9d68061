"""The handler of the standard logging: it never blocks, never grows, never loops, and counts what it drops."""

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ingestd._librdkafka import MockCluster
from ingestd.client import Event, LogHandler, Producer, bind
from tests.support.harness import mock_cluster, read_all
from tests.support.wait import MULTIPLIER, wait_until

TOPIC = "observability.events"
WAIT_S = 30 * MULTIPLIER
QUIET: dict[str, Any] = {"librdkafka": {"log_level": 0}}


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    cluster = mock_cluster()
    yield cluster
    cluster.close()


@pytest.fixture
def log() -> logging.Logger:
    """A logger of a program; of no tree, so that pytest's handlers don't look at each line too."""
    return logging.Logger("shop.api", logging.DEBUG)


def attach_handler(log: logging.Logger, producer: Producer, **options: Any) -> LogHandler:
    handler = LogHandler(producer, **options)
    log.addHandler(handler)
    return handler


def read(cluster: MockCluster, count: int) -> list[Event]:
    return [Event.from_json(record.value()) for record in read_all(cluster, TOPIC, count)]


def test_what_is_logged_becomes_an_event(cluster: MockCluster, log: logging.Logger):
    with Producer(cluster.bootstraps, TOPIC, "shop", **QUIET) as producer:
        handler = attach_handler(log, producer)
        with bind(correlation_id="c", trace_id="t"):
            log.warning("order %d of %s", 7, "Ann", extra={"items": 3, "odd": object()})
        try:
            raise ValueError("bad card")
        except ValueError:
            log.exception("charge failed")
        log.critical("down")
        log.log(15, "between debug and info")
        handler.flush()
        assert handler.dropped_count == 0
    warned, failed, critical, between = read(cluster, 4)
    assert (warned.type, warned.level, warned.service, warned.component) == ("log", "warning", "shop", "shop.api")
    assert (warned.message, warned.correlation_id, warned.trace_id) == ("order 7 of Ann", "c", "t")
    assert warned.metadata is not None and abs(warned.timestamp_ns - time.time_ns()) < 60 * 10**9 * MULTIPLIER
    assert warned.metadata["items"] == 3 and warned.metadata["odd"].startswith("<object object")
    assert warned.metadata["logger"] == "shop.api" and warned.metadata["function"].startswith("test_what")
    assert failed.level == "error" and failed.data == {"error_type": "ValueError"}
    assert failed.metadata is not None and "ValueError: bad card" in failed.metadata["stack_trace"]
    assert (critical.level, between.level) == ("fatal", "debug")


def test_a_formatter_and_a_component_may_be_set(cluster: MockCluster, log: logging.Logger):
    with Producer(cluster.bootstraps, TOPIC, "shop", **QUIET) as producer:
        handler = attach_handler(log, producer, level=logging.INFO, component="web")
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        log.debug("not this")
        log.info("this")
    (event,) = read(cluster, 1)
    assert (event.component, event.message) == ("web", "INFO this")


def test_a_dead_broker_never_blocks_who_logs(cluster: MockCluster, log: logging.Logger):
    cluster.broker_down()
    producer = Producer(cluster.bootstraps, TOPIC, "shop", queue_events_max=50, queue_timeout_s=60, **QUIET)
    handler = attach_handler(log, producer)
    started_s = time.monotonic()
    for number in range(1000):
        log.info("line %d", number)
    assert time.monotonic() - started_s < 5 * MULTIPLIER
    assert handler.dropped_count == 950
    cluster.broker_up()
    assert producer.flush(WAIT_S) == 0
    log.info("room again")
    producer.close()
    events = read(cluster, 52)
    (said,) = [event for event in events if event.component == "logging"]
    assert said.message == "950 log records were dropped" and said.level == "warning"


def test_its_own_share_of_the_queue_is_bounded(cluster: MockCluster, log: logging.Logger):
    cluster.broker_down()
    producer = Producer(cluster.bootstraps, TOPIC, "shop", queue_timeout_s=60, **QUIET)
    handler = attach_handler(log, producer, pending_max=20)
    for number in range(100):
        log.info("line %d", number)
    assert handler.dropped_count == 80 and len(handler._pending) == 20
    producer.publish_log("info", "c", "there is room for the program itself")
    cluster.broker_up()
    producer.close()


def test_what_the_library_says_of_sending_is_not_sent(
    cluster: MockCluster, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
):
    cluster.broker_down()
    producer = Producer(cluster.bootstraps, TOPIC, "shop", delivery_timeout_s=0.3, librdkafka={"debug": "broker,msg"})
    handler = attach_handler(log, producer)
    monkeypatch.setattr(logging.getLogger(), "handlers", [*logging.getLogger().handlers, handler])
    for name in ("ingestd.client", "ingestd.client.deep", "confluent_kafka", "confluent_kafka.admin"):
        logging.getLogger(name).error("not sent")
    assert not handler._pending
    log.info("sent")
    # Its failure is said in the log, and librdkafka talks at every step: nothing of it comes back.
    wait_until(lambda: handler.dropped_count == 1, "the event has failed")
    assert not handler._pending
    cluster.broker_up()
    producer.close()


def test_what_is_logged_while_a_line_is_published_is_not_sent(cluster: MockCluster, log: logging.Logger):
    class Chatty:
        def __str__(self) -> str:
            log.info("I was looked at")
            return "chatty"

    with Producer(cluster.bootstraps, TOPIC, "shop", **QUIET) as producer:
        attach_handler(log, producer)
        log.info("value: %s", Chatty())
    assert [event.message for event in read(cluster, 1)] == ["value: chatty"]


def test_a_callback_of_a_delivery_may_log(cluster: MockCluster, log: logging.Logger):
    with Producer(cluster.bootstraps, TOPIC, "shop", linger_ms=0, **QUIET) as producer:
        attach_handler(log, producer)
        for number in range(100):
            producer.publish_log("info", "c", str(number)).add_done_callback(lambda future: log.info("delivered"))
        producer.flush(WAIT_S)
    assert len(read(cluster, 200)) == 200


def test_threads_log_at_once(cluster: MockCluster, log: logging.Logger):
    with Producer(cluster.bootstraps, TOPIC, "shop", **QUIET) as producer:
        handler = attach_handler(log, producer)
        threads = [
            threading.Thread(target=lambda: [log.info("line %d", number) for number in range(200)]) for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        handler.flush()
        assert handler.dropped_count == 0 and not handler._pending
    assert len(read(cluster, 1000)) == 1000


def test_a_wrong_line_is_said_as_logging_says_it(
    cluster: MockCluster, log: logging.Logger, capsys: pytest.CaptureFixture[str]
):
    with Producer(cluster.bootstraps, TOPIC, "shop", **QUIET) as producer:
        attach_handler(log, producer)
        log.info("%d", "x")
        log.info("good")
    assert "--- Logging error ---" in capsys.readouterr().err
    assert [event.message for event in read(cluster, 1)] == ["good"]


def test_after_the_producer_is_closed_lines_are_dropped_and_counted(cluster: MockCluster, log: logging.Logger):
    producer = Producer(cluster.bootstraps, TOPIC, "shop", **QUIET)
    handler = attach_handler(log, producer)
    producer.close()
    log.info("late")
    handler.flush()
    assert handler.dropped_count == 1
